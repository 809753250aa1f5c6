"""cloud-init's ConfigDrive source: an ISO with label config-2 and OpenStack's layout.

Files below openstack/latest: meta_data.json, user_data, network_data.json
(https://docs.cloud-init.io/en/latest/reference/datasources/configdrive.html).
"""

from pathlib import Path

import msgspec

from virt.api import names
from virt.api.v1 import CloudInitConfigDriveSource, VirtualMachineInstance
from virt.launcher.disks import cloudinit, iso

LABEL = "config-2"
_FOLDER = "openstack/latest"


def files(vmi: VirtualMachineInstance, source: CloudInitConfigDriveSource, secrets: Path) -> dict[str, bytes]:
    """Path -> content of the ISO's files; what is not given is left out. Raises ValueError, OSError."""
    user, network = cloudinit.data(source, secrets)
    found = {"meta_data.json": msgspec.json.encode(_meta_data(vmi)), "user_data": user, "network_data.json": network}
    return {f"{_FOLDER}/{name}": content for name, content in found.items() if content}


def prepare(
    vmi: VirtualMachineInstance, volume: str, source: CloudInitConfigDriveSource, secrets: Path, path: Path
) -> int:
    """Write the ISO to ``path`` unless it is there; its size. Raises DiskError."""
    return iso.prepare(volume, path, LABEL, lambda: files(vmi, source, secrets))


def _meta_data(vmi: VirtualMachineInstance) -> dict[str, str]:
    firmware = vmi.spec.domain.firmware
    found = {
        "instance_id": f"{vmi.metadata.name}.{vmi.metadata.namespace}",
        "hostname": names.hostname(vmi.metadata.name, vmi.spec.hostname),
        "uuid": firmware.uuid if firmware else "",
    }
    return {name: value for name, value in found.items() if value}
