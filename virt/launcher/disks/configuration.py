"""Volumes that carry files of the cluster: config map, secret, downward API, service account, each an ISO image.

The kubelet mounts them into the pod; the image is what was there when the guest began, and a running guest's never
changes.
"""

from pathlib import Path

from virt.api.v1 import Volume
from virt.launcher.disks import iso
from virt.launcher.disks.errors import DiskError

LABEL = "cfgdata"
_HIDDEN = ".."              # the kubelet's own: the files are links into a folder that it replaces as a whole


def is_configuration(volume: Volume) -> bool:
    return any((volume.config_map, volume.secret, volume.downward_api, volume.service_account))


def label(volume: Volume) -> str:
    source = volume.config_map or volume.secret or volume.downward_api
    return (source.volume_label if source is not None else "") or LABEL


def files(folder: Path) -> dict[str, bytes]:
    """Path -> content of all files below ``folder``. Raises OSError."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if not name.parts[0].startswith(_HIDDEN) and path.is_file():
            found[str(name)] = path.read_bytes()
        elif not name.parts[0].startswith(_HIDDEN) and path.is_symlink() and path.is_dir():
            # A path with folders: the first of them is the link.
            found |= {f"{name}/{inner}": content for inner, content in files(path.resolve()).items()}
    return found


def prepare(volume: Volume, folder: Path, path: Path) -> None:
    """Write the ISO of what is mounted at ``folder`` to ``path`` unless it is there. Raises DiskError."""
    if path.exists():
        return
    try:
        contents = files(folder)
    except OSError as error:
        raise DiskError(f"volume {volume.name}: {error}") from error
    iso.write(contents, label(volume), path)
