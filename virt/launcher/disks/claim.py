"""Claims: a file system with disk.img in it, or a block device.

The file is made by the guest's own user (nobody changes owners here), whole or not at all. Its content is the guest's:
it is raw whatever its first bytes look like, and no link is followed.
"""

import contextlib
import fcntl
import os
import stat
import struct
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
_LOCKS = range(100, 300)          # bytes by which QEMU locks an image (block/file-posix.c)
_FLOCK = "hhqqi4x"                # struct flock of 64-bit Linux
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
        raise ValueError(_no_space(wanted, usable))
    size = min(wanted, usable) // quantity.MIB * quantity.MIB
    if size <= 0:
        raise ValueError(f"the file system has {max(usable, 0)} bytes left, less than 1 MiB")
    return size


def _no_space(wanted: int, left: int) -> str:
    return f"not enough space: {wanted} bytes are wanted, the file system has {max(left, 0)} left"


def prepare_file(volume: str, folder: Path, wanted: int | None, *, read_only: bool) -> DiskFile:
    """The claim's disk.img, which is made when it is missing. Raises DiskError."""
    path, short_of = folder / FILE, 0
    try:
        status = _status(path)
        if status is None:
            if read_only:
                raise ValueError("it is missing and the volume is read-only")
            status = _make(path, folder, disk_size(Space(wanted, _available(folder))))
            whole = (wanted or 0) // quantity.MIB * quantity.MIB
            short_of = whole if status.st_size < whole else 0
    except (OSError, ValueError) as error:
        raise _not_made(volume, folder, error) from error
    _check(volume, path, status, read_only=read_only)
    return DiskFile(path, status, short_of)


def prepare_copy(volume: str, folder: Path, size: int) -> DiskFile:
    """disk.img for the copy of a disk of ``size`` bytes that the guest has elsewhere: as large as that, to the byte.

    One that is there is written over; when it is smaller, somebody has meant something else by it. Raises DiskError.
    """
    path = folder / FILE
    if size <= 0:
        raise DiskError(f"volume {volume}: the size of its source is not known, so {path} cannot be made as large")
    try:
        status = _status(path)
        if status is not None:
            _check(volume, path, status, read_only=False)
            if status.st_size < size:
                raise DiskError(_too_small(volume, path, status.st_size, size))
        held = status.st_blocks * 512 if status is not None else 0
        left = _available(folder) - _RESERVE + held
        if left < size * (1 - _TOLERATED):
            raise ValueError(_no_space(size, left))
        if status is None:
            status = _make(path, folder, size)
        elif status.st_size > size:
            status = _cut(volume, path, size)
    except (OSError, ValueError) as error:
        raise _not_made(volume, folder, error) from error
    return DiskFile(path, status)


def check_copy(volume: str, device: Path, size: int) -> int:
    """Bytes of a block device that is to hold the copy of a disk of ``size`` bytes. Raises DiskError."""
    found = block_size(volume, device)
    if found < size:
        raise DiskError(_too_small(volume, device, found, size))
    if found > size:
        raise DiskError(
            f"volume {volume}: {device} has {found} bytes, the source {size}: a device has to be as large as that")
    return found


def _too_small(volume: str, path: Path, found: int, size: int) -> str:
    return (f"volume {volume}: destination volume is smaller than the source volume: {path} has {found} bytes, the "
            f"source {size}")


def _not_made(volume: str, folder: Path, error: OSError | ValueError) -> DiskError:
    # Not the name in it, which is another one each time: the text becomes the VMI's, and would be written at each try.
    why = error.strerror if isinstance(error, OSError) else error
    return DiskError(f"volume {volume}: cannot make {folder / FILE} as uid {os.getuid()}: {why}{_owner(folder)}")


def _check(volume: str, path: Path, status: os.stat_result, *, read_only: bool) -> None:
    """Raises DiskError for what is no file of the guest's user."""
    if not stat.S_ISREG(status.st_mode):
        raise DiskError(f"volume {volume}: {path} is no regular file; links and devices are not followed")
    if not os.access(path, os.R_OK if read_only else os.R_OK | os.W_OK):
        raise DiskError(
            f"volume {volume}: Could not open '{path}': Permission denied: its mode is "
            f"{stat.S_IMODE(status.st_mode):04o} and its uid {status.st_uid}; the guest's user is {os.getuid()} and "
            "owners are not changed here"
        )


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


def _available(folder: Path) -> int:
    space = os.statvfs(folder)
    return space.f_bavail * space.f_frsize


def _make(path: Path, folder: Path, size: int) -> os.stat_result:
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


def _cut(volume: str, path: Path, size: int) -> os.stat_result:
    """Make the file shorter, unless a QEMU has it open: that holds locks on some of its bytes."""
    fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, _LOCKS.start, len(_LOCKS), 0)
        held, *_ = struct.unpack(_FLOCK, fcntl.fcntl(fd, fcntl.F_OFD_GETLK, asked))
        if held != fcntl.F_UNLCK:
            raise DiskError(f"volume {volume}: {path} is in use by another guest")
        os.ftruncate(fd, size)
        os.fsync(fd)
        return os.fstat(fd)
    finally:
        os.close(fd)


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
