"""cloud-init's ConfigDrive source: an ISO with label config-2 and OpenStack's layout.

Files below openstack/latest: meta_data.json, user_data, network_data.json
(https://docs.cloud-init.io/en/latest/reference/datasources/configdrive.html).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from virt.api import names
from virt.api.v1 import CloudInitConfigDriveSource, VirtualMachineInstance
from virt.launcher.design import TaggedDevice
from virt.launcher.disks import cloudinit, iso

LABEL = "config-2"
_FOLDER = "openstack/latest"


def files(
    vmi: VirtualMachineInstance, source: CloudInitConfigDriveSource, secrets: Path,
    tagged: Sequence[TaggedDevice] = (),
) -> dict[str, bytes]:
    """Path -> content of the ISO's files; what is not given is left out. Raises ValueError, OSError."""
    user, network = cloudinit.data(source, secrets)
    meta = msgspec.json.encode(_meta_data(vmi, tagged))
    found = {"meta_data.json": meta, "user_data": user, "network_data.json": network}
    return {f"{_FOLDER}/{name}": content for name, content in found.items() if content}


def prepare(
    vmi: VirtualMachineInstance, volume: str, source: CloudInitConfigDriveSource, secrets: Path, path: Path,
    *, tagged: Sequence[TaggedDevice] = (),
) -> int:
    """Write the ISO to ``path`` unless it is there; its size. One with ``tagged`` devices takes the place of the one
    from before their addresses were known. Raises DiskError."""
    if tagged:
        path.unlink(missing_ok=True)
    return iso.prepare(volume, path, LABEL, lambda: files(vmi, source, secrets, tagged))


def _meta_data(vmi: VirtualMachineInstance, tagged: Sequence[TaggedDevice]) -> dict[str, Any]:
    firmware = vmi.spec.domain.firmware
    found = {
        "instance_id": f"{vmi.metadata.name}.{vmi.metadata.namespace}",
        "hostname": names.hostname(vmi.metadata.name, vmi.spec.hostname),
        "uuid": firmware.uuid if firmware else "",
        "devices": tagged,
    }
    return {name: value for name, value in found.items() if value}
