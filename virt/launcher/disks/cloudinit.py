"""cloud-init's sources as ISO images: NoCloud (label cidata) and ConfigDrive (label config-2).

https://docs.cloud-init.io/en/latest/reference/datasources/nocloud.html: meta-data, user-data, network-config.
https://docs.cloud-init.io/en/latest/reference/datasources/configdrive.html: openstack/latest/meta_data.json, user_data,
network_data.json.
"""

import base64
import binascii
from pathlib import Path
from typing import Any

import msgspec

from virt.api import names
from virt.api.v1 import CloudInitConfigDriveSource, CloudInitNoCloudSource, VirtualMachineInstance
from virt.launcher.disks import iso
from virt.launcher.disks.errors import DiskError

NO_CLOUD_LABEL = "cidata"
CONFIG_DRIVE_LABEL = "config-2"
_LATEST = "openstack/latest"

Source = CloudInitNoCloudSource | CloudInitConfigDriveSource


def files(vmi: VirtualMachineInstance, source: Source, secrets: Path) -> dict[str, bytes]:
    """Path -> content of the ISO's files. ``secrets``: where the volume's are mounted. Raises ValueError, OSError."""
    user = _content(
        "userData", source.user_data, source.user_data_base64, source.secret_ref, secrets / names.USER_SECRET
    )  # fmt: skip
    network = _content(
        "networkData", source.network_data, source.network_data_base64, source.network_data_secret_ref,
        secrets / names.NETWORK_SECRET,
    )  # fmt: skip
    if isinstance(source, CloudInitConfigDriveSource):
        found = {"meta_data.json": _config_drive_data(vmi), "user_data": user, "network_data.json": network}
        return {f"{_LATEST}/{name}": content for name, content in found.items() if content}
    # cloud-init takes no NoCloud seed without user data.
    return {
        "meta-data": _no_cloud_data(vmi), "user-data": user or b"", **({"network-config": network} if network else {}),
    }  # fmt: skip


def _no_cloud_data(vmi: VirtualMachineInstance) -> bytes:
    return msgspec.json.encode({"instance-id": _uuid(vmi) or _full_name(vmi), "local-hostname": _hostname(vmi)})


def _config_drive_data(vmi: VirtualMachineInstance) -> bytes:
    data: dict[str, Any] = {
        "instance_id": _full_name(vmi), "local_hostname": _hostname(vmi), "hostname": _hostname(vmi),
    }  # fmt: skip
    return msgspec.json.encode(data | ({"uuid": _uuid(vmi)} if _uuid(vmi) else {}))


def _uuid(vmi: VirtualMachineInstance) -> str:
    firmware = vmi.spec.domain.firmware
    return firmware.uuid if firmware else ""


def _full_name(vmi: VirtualMachineInstance) -> str:
    return f"{vmi.metadata.name}.{vmi.metadata.namespace}"


def _hostname(vmi: VirtualMachineInstance) -> str:
    return vmi.spec.hostname or vmi.metadata.name


def _content(field: str, plain: str, encoded: str, reference: object, secret: Path) -> bytes | None:
    if reference is not None:
        for key in (field.lower(), field):
            if (secret / key).is_file():
                return (secret / key).read_bytes()
        raise ValueError(f"the secret has no key {field.lower()}")
    if encoded:
        try:
            return base64.b64decode(encoded, validate=True)
        except binascii.Error as error:
            raise ValueError(f"{field}Base64: {error}") from error
    return plain.encode() if plain else None


def prepare(vmi: VirtualMachineInstance, volume: str, source: Source, secrets: Path, folder: Path) -> Path:
    """Write the ISO into ``folder`` unless it is there; its path. Raises DiskError."""
    is_drive = isinstance(source, CloudInitConfigDriveSource)
    path = folder / ("configdrive.iso" if is_drive else "noCloud.iso")
    if not path.exists():
        try:
            contents = files(vmi, source, secrets)
        except (OSError, ValueError) as error:
            raise DiskError(f"volume {volume}: {error}") from error
        iso.write(contents, CONFIG_DRIVE_LABEL if is_drive else NO_CLOUD_LABEL, path)
    return path
