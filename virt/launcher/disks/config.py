"""configMap, secret, downwardAPI and serviceAccount volumes: an ISO with the files that the kubelet mounted.

The guest keeps what was there when its pod started, as with KubeVirt: a later change arrives with the next start.
"""

from pathlib import Path

from virt.api.v1 import Volume
from virt.launcher.disks import iso

LABEL = "cfgdata"


def label(volume: Volume) -> str:
    for source in (volume.config_map, volume.secret, volume.downward_api):
        if source is not None and source.volume_label:
            return source.volume_label
    return LABEL


def files(folder: Path) -> dict[str, bytes]:
    """Path below ``folder`` -> content, without the kubelet's own "..data" and its like. Raises OSError."""
    found: dict[str, bytes] = {}
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith(".."):
            continue
        if entry.is_dir():
            found |= {f"{entry.name}/{name}": content for name, content in files(entry).items()}
        else:
            found[entry.name] = entry.read_bytes()
    return found


def prepare(volume: Volume, folder: Path, path: Path) -> int:
    """Write the ISO to ``path`` unless it is there; its size. Raises DiskError."""
    return iso.prepare(volume.name, path, label(volume), lambda: files(folder))
