"""cloud-init's NoCloud source: an ISO with label cidata.

Files: meta-data, user-data, network-config (https://docs.cloud-init.io/en/latest/reference/datasources/nocloud.html).
"""

import base64
import binascii
from pathlib import Path

import msgspec

from virt.api import names
from virt.api.v1 import CloudInitNoCloudSource, VirtualMachineInstance
from virt.api.v1.volume import CloudInitSource
from virt.launcher.disks import iso

LABEL = "cidata"


def files(vmi: VirtualMachineInstance, source: CloudInitNoCloudSource, secrets: Path) -> dict[str, bytes]:
    """Name -> content of the ISO's files. ``secrets``: where the volume's are mounted. Raises ValueError, OSError."""
    user, network = data(source, secrets)
    return {
        "meta-data": msgspec.json.encode(_meta_data(vmi)),
        "user-data": user or b"",             # cloud-init takes no seed without it
        **({"network-config": network} if network else {}),
    }


def data(source: CloudInitSource, secrets: Path) -> tuple[bytes | None, bytes | None]:
    """User data and network data, wherever they come from; None where there is no source. Raises as files."""
    return (
        _content("userData", source.user_data, source.user_data_base64, source.secret_ref, secrets / names.USER_SECRET),
        _content(
            "networkData", source.network_data, source.network_data_base64, source.network_data_secret_ref,
            secrets / names.NETWORK_SECRET,
        ),
    )  # fmt: skip


def _meta_data(vmi: VirtualMachineInstance) -> dict[str, str]:
    firmware = vmi.spec.domain.firmware
    return {
        "instance-id": (firmware.uuid if firmware else "") or f"{vmi.metadata.name}.{vmi.metadata.namespace}",
        "local-hostname": names.hostname(vmi.metadata.name, vmi.spec.hostname),
    }


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


def prepare(vmi: VirtualMachineInstance, volume: str, source: CloudInitNoCloudSource, secrets: Path, path: Path) -> int:
    """Write the ISO to ``path`` unless it is there; its size. Raises DiskError."""
    return iso.prepare(volume, path, LABEL, lambda: files(vmi, source, secrets))
