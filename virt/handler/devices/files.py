"""The files that :mod:`virt.handler.devices.resources` points the kubelet at: device nodes and static helpers."""

import contextlib
import os
import shutil
import stat
from collections.abc import Collection, Iterable
from pathlib import Path

from virt.handler.devices.resources import CharacterDevice

# Distributions ship /dev/net/tun as 0600 or 0666; a launcher is uid 107 and has no capability, so it must be 0666.
NODE_MODE = 0o666


def make_nodes(devices: Iterable[CharacterDevice]) -> None:
    """Make each device node, or leave it when it is right already. Needs CAP_MKNOD; raises OSError.

    The file system may be mounted nodev (/run is): the kubelet only reads numbers and mode from it.
    """
    for device in devices:
        if _is_right(device):
            continue
        device.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = device.path.with_name(f".{device.path.name}.new")
        fresh.unlink(missing_ok=True)
        os.mknod(fresh, stat.S_IFCHR | NODE_MODE, os.makedev(device.major, device.minor))
        fresh.chmod(NODE_MODE)                      # mknod's mode went through the umask
        fresh.rename(device.path)


def remove_others(folder: Path, names: Collection[str]) -> None:
    """Remove what is in ``folder`` and not in ``names``; all of it without any. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        for path in list(folder.iterdir()):
            if path.name not in names:
                path.unlink(missing_ok=True)
        if not names:
            folder.rmdir()


def _is_right(device: CharacterDevice) -> bool:
    with contextlib.suppress(FileNotFoundError):
        found = os.lstat(device.path)
        return (
            stat.S_ISCHR(found.st_mode)
            and stat.S_IMODE(found.st_mode) == NODE_MODE
            and found.st_rdev == os.makedev(device.major, device.minor)
        )
    return False


def copy_capabilities(source: Path, target: Path) -> None:
    """Make ``target`` hold the files of ``source``, for launchers to read, and nothing else."""
    shutil.rmtree(target, ignore_errors=True)
    if not source.is_dir():
        return
    target.mkdir(parents=True)
    target.chmod(0o755)
    for path in source.glob("*.xml"):
        if path.is_file() and not path.is_symlink():
            shutil.copyfile(path, target / path.name)
            (target / path.name).chmod(0o644)


def copy_helpers(source: Path, target: Path) -> tuple[str, ...]:
    """Copy every file of ``source`` into ``target`` with mode 0755, and return the names.

    Each is replaced by a rename: a container that runs the old file keeps it, none ever sees half a file ("Text file
    busy" cannot happen either). A missing ``source`` copies nothing.
    """
    target.mkdir(parents=True, exist_ok=True)
    target.chmod(0o755)
    if not source.is_dir():
        return ()
    names = []
    for helper in sorted(path for path in source.iterdir() if path.is_file()):
        fresh = target / f".{helper.name}.new"
        shutil.copyfile(helper, fresh)
        fresh.chmod(0o755)                          # unreadable programs are not dumpable, so 0711 will not do
        fresh.rename(target / helper.name)
        names.append(helper.name)
    return tuple(names)
