"""Claims: a file system with disk.img in it, or a block device.

The file is made by the guest's own user (nobody changes owners here), whole or not at all. Its content is the guest's:
it is raw whatever its first bytes look like, and no link is followed.
"""

import contextlib
import os
import stat
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from virt.api import quantity
from virt.api.v1 import VolumeStatus
from virt.launcher.disks.errors import DiskError

FILE = "disk.img"
_RESERVE = 128 << 10              # of the file system, so that a full disk does not fill it to the last block
_TOLERATED = Fraction(1, 10)      # a claim's file system is smaller than the claim: its own structures


@dataclass(frozen=True)
class Space:
    """Bytes: what the disk should hold (None: not said) and what the file system has left."""

    wanted: int | None
    available: int


@dataclass(frozen=True)
class DiskFile:
    """A claim's disk.img. ``short_of``: bytes that it was to have when it was made smaller now, else 0."""

    path: Path
    status: os.stat_result
    short_of: int = 0

    @property
    def size(self) -> int:
        return self.status.st_size

    @property
    def is_preallocated(self) -> bool:
        """Whether the file has all of its blocks: then writes need none, and native I/O does not stall on them."""
        return self.status.st_blocks * 512 >= self.size > 0


def wanted_size(volume: str, statuses: Sequence[VolumeStatus]) -> int | None:
    """The lesser of what the claim asked for and what it got, from the VMI's status; None when that tells nothing."""
    for status in statuses:
        if status.name == volume and (claim := status.persistent_volume_claim_info) is not None:
            said = [amounts["storage"] for amounts in (claim.requests, claim.capacity) if "storage" in amounts]
            sizes = [quantity.integer(amount) for amount in said]
            return min(sizes) if sizes else None
    return None


def disk_size(space: Space) -> int:
    """Size of a new disk.img, whole MiB. Raises ValueError when there is too little space.

    >>> disk_size(Space(wanted=10 << 20, available=1 << 30)) >> 20
    10
    """
    usable = space.available - _RESERVE
    wanted = usable if space.wanted is None else space.wanted
    if usable < wanted * (1 - _TOLERATED):
        raise ValueError(f"not enough space: {wanted} bytes are wanted, the file system has {max(usable, 0)} left")
    size = min(wanted, usable) // quantity.MIB * quantity.MIB
    if size <= 0:
        raise ValueError(f"the file system has {max(usable, 0)} bytes left, less than 1 MiB")
    return size


def prepare_file(volume: str, folder: Path, wanted: int | None, *, read_only: bool) -> DiskFile:
    """The claim's disk.img, which is made when it is missing. Raises DiskError."""
    path, short_of = folder / FILE, 0
    try:
        status = _status(path)
        if status is None:
            status = _make(path, folder, wanted, read_only=read_only)
            whole = (wanted or 0) // quantity.MIB * quantity.MIB
            short_of = whole if status.st_size < whole else 0
    except (OSError, ValueError) as error:
        # Without the name of the unfinished file, which is another one each time: the VMI tells this text, and
        # one that changes with each try makes each try change the VMI, which asks for the next try.
        why = error.strerror if isinstance(error, OSError) else error
        raise DiskError(f"volume {volume}: cannot make {path} as uid {os.getuid()}: {why}{_owner(folder)}") from error
    if not stat.S_ISREG(status.st_mode):
        raise DiskError(f"volume {volume}: {path} is no regular file; links and devices are not followed")
    if not os.access(path, os.R_OK if read_only else os.R_OK | os.W_OK):
        raise DiskError(
            f"volume {volume}: Could not open '{path}': Permission denied: its mode is "
            f"{stat.S_IMODE(status.st_mode):04o} and its uid {status.st_uid}; the guest's user is {os.getuid()} and "
            "owners are not changed here"
        )
    return DiskFile(path, status, short_of)


def _owner(folder: Path) -> str:
    """Who may write there, for people; "" when that cannot be told."""
    try:
        found = folder.stat()
    except OSError:
        return ""
    return f" (its folder has mode {stat.S_IMODE(found.st_mode):04o} and uid {found.st_uid})"


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except FileNotFoundError:
        return None


def _make(path: Path, folder: Path, wanted: int | None, *, read_only: bool) -> os.stat_result:
    if read_only:
        raise ValueError("it is missing and the volume is read-only")
    space = os.statvfs(folder)
    size = disk_size(Space(wanted, space.f_bavail * space.f_frsize))
    unfinished = folder / f".{FILE}.{uuid.uuid4().hex}"
    fd = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o660)
    try:
        os.ftruncate(fd, size)
        os.fsync(fd)
        with contextlib.suppress(FileExistsError):         # somebody else was quicker: that one counts
            os.link(unfinished, path, follow_symlinks=False)
    finally:
        os.close(fd)
        unfinished.unlink()
    return path.lstat()


def block_size(volume: str, device: Path) -> int:
    """Bytes of the claim's block device. Raises DiskError."""
    try:
        fd = os.open(device, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise DiskError(f"volume {volume}: {device}: {error.strerror}") from error
    try:
        if not stat.S_ISBLK(os.fstat(fd).st_mode):
            raise DiskError(f"volume {volume}: {device} is no block device")
        return os.lseek(fd, 0, os.SEEK_END)
    finally:
        os.close(fd)
