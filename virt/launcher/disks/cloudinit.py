"""cloud-init's sources as ISO images: NoCloud (label cidata) and ConfigDrive (label config-2).

https://docs.cloud-init.io/en/latest/reference/datasources/nocloud.html: meta-data, user-data, network-config.
https://docs.cloud-init.io/en/latest/reference/datasources/configdrive.html: openstack/latest/meta_data.json, user_data,
network_data.json.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from virt.api import names
from virt.api.v1 import CloudInitConfigDriveSource, CloudInitNoCloudSource, VirtualMachineInstance
from virt.launcher.disks import iso
from virt.launcher.disks.errors import DiskError

NO_CLOUD_LABEL = "cidata"
CONFIG_DRIVE_LABEL = "config-2"
_LATEST = "openstack/latest"

Source = CloudInitNoCloudSource | CloudInitConfigDriveSource


@dataclass(frozen=True)
class Given:
    """Where the volume's own secrets are mounted, and those of access credentials, each in a folder of its name."""

    secrets: Path
    credentials: Path = Path(names.ACCESS_CREDENTIALS_DIR)


def files(vmi: VirtualMachineInstance, source: Source, given: Given) -> dict[str, bytes]:
    """Path -> content of the ISO's files. Raises ValueError, OSError."""
    user = _content(
        "userData", source.user_data, source.user_data_base64, source.secret_ref, given.secrets / names.USER_SECRET
    )  # fmt: skip
    network = _content(
        "networkData", source.network_data, source.network_data_base64, source.network_data_secret_ref,
        given.secrets / names.NETWORK_SECRET,
    )  # fmt: skip
    keys = _public_keys(vmi, given.credentials, by_drive=isinstance(source, CloudInitConfigDriveSource))
    if isinstance(source, CloudInitConfigDriveSource):
        found = {"meta_data.json": _config_drive_data(vmi, keys), "user_data": user, "network_data.json": network}
        return {f"{_LATEST}/{name}": content for name, content in found.items() if content}
    # cloud-init takes no NoCloud seed without user data.
    return {
        "meta-data": _no_cloud_data(vmi, keys),
        "user-data": user or b"",
        **({"network-config": network} if network else {}),
    }  # fmt: skip


def _no_cloud_data(vmi: VirtualMachineInstance, keys: Mapping[str, str]) -> bytes:
    data = {"instance-id": _uuid(vmi) or _full_name(vmi), "local-hostname": _hostname(vmi)}
    return msgspec.json.encode({**data, **({"public-keys": keys} if keys else {})})


def _config_drive_data(vmi: VirtualMachineInstance, keys: Mapping[str, str]) -> bytes:
    data = {"instance_id": _full_name(vmi), "local_hostname": _hostname(vmi), "hostname": _hostname(vmi)}
    uuid = {"uuid": _uuid(vmi)} if _uuid(vmi) else {}
    return msgspec.json.encode({**data, **uuid, **({"public_keys": keys} if keys else {})})


def _public_keys(vmi: VirtualMachineInstance, folder: Path, *, by_drive: bool) -> dict[str, str]:
    """SSH keys that access credentials bring in this way, numbered: each line of each file of their secrets."""
    lines: list[str] = []
    for credential in vmi.spec.access_credentials:
        detail = credential.ssh_public_key
        if detail is None or detail.source.secret is None:
            continue
        method = detail.propagation_method
        if (method.config_drive if by_drive else method.no_cloud) is None:
            continue
        for path in sorted((folder / detail.source.secret.secret_name).iterdir()):
            if path.is_file():
                lines += path.read_text().splitlines()
    return {str(number): line for number, line in enumerate(dict.fromkeys(filter(None, map(str.strip, lines))))}


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


def prepare(vmi: VirtualMachineInstance, volume: str, source: Source, given: Given, folder: Path) -> Path:
    """Write the ISO into ``folder`` unless it is there; its path. Raises DiskError."""
    is_drive = isinstance(source, CloudInitConfigDriveSource)
    path = folder / ("configdrive.iso" if is_drive else "noCloud.iso")
    if not path.exists():
        try:
            contents = files(vmi, source, given)
        except (OSError, ValueError) as error:
            raise DiskError(f"volume {volume}: {error}") from error
        iso.write(contents, CONFIG_DRIVE_LABEL if is_drive else NO_CLOUD_LABEL, path)
    return path
