"""Folders of hot-plugged claims, received as descriptors while the launcher runs.

The handler takes them out of the attachment pod. We keep each descriptor as long as the guest may use the claim; the
link ``<volume>`` in the folder of links leads to it through /proc/<our pid>/fd, so what libvirt is told is a path that
is the same in every launcher of the guest. Never resolve that link: what readlink says is a path of the other pod.
"""

import fcntl
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from virt.api import names
from virt.base import log
from virt.launcher.disks.errors import DiskError

_LOWEST_FD = 100              # out of the way of whatever a library expects below
_logger = log.get("virt.launcher.disks")


@dataclass
class HeldClaims:
    """``links``: made when missing."""

    links: Path = Path(names.HOTPLUG_DISKS_DIR)
    _held: dict[str, int] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self._held))

    def take(self, volumes: Sequence[str], fds: Sequence[int]) -> None:
        """One folder for each volume; ``fds`` stay the caller's. What is held already stays. Raises DiskError."""
        if len(volumes) != len(fds):
            raise DiskError(f"{len(fds)} folders came for {len(volumes)} volumes: {', '.join(volumes)}")
        for volume, fd in zip(volumes, fds, strict=True):
            if volume in self._held:
                continue
            if not stat.S_ISDIR(os.fstat(fd).st_mode):
                raise DiskError(f"volume {volume}: what came for it is no folder")
            kept = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _LOWEST_FD)
            self.links.mkdir(parents=True, exist_ok=True)
            link = self.links / volume
            link.unlink(missing_ok=True)
            link.symlink_to(f"/proc/{os.getpid()}/fd/{kept}")
            self._held[volume] = kept
            _logger.info("hot-plugged claim", volume=volume)

    def release(self, volume: str) -> None:
        fd = self._held.pop(volume, None)
        if fd is None:
            return
        (self.links / volume).unlink(missing_ok=True)
        os.close(fd)
        _logger.info("hot-plugged claim released", volume=volume)
