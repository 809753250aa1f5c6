"""ISO 9660 images with Rock Ridge and Joliet names, made without a mount."""

import io
import os
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

from virt.launcher.disks.errors import DiskError

_MODE = 0o640               # what is in them is often a secret
_JOLIET_NAME = 64           # characters; a longer name is left to Rock Ridge
_MADE_AT_S = 946684800      # 2000-01-01, on all of them


class _StoppedClock:
    """Replaces the module that the library asks for the time, so that equal contents give equal images. An image that
    a guest only reads is made again where the guest moves to, and has to be what the guest knows."""

    @staticmethod
    def time() -> float:
        return _MADE_AT_S


def image(contents: Mapping[str, bytes], label: str) -> bytes:
    """``contents``: file names, with "/" where they are in folders. Raises ValueError for what no image can hold."""
    from pycdlib import PyCdlib, headervd, pycdlib
    from pycdlib.pycdlibexception import PyCdlibException

    for module in (headervd, pycdlib):
        module.time = _StoppedClock
    made = PyCdlib()
    try:
        made.new(vol_ident=label, joliet=3, rock_ridge="1.09")
        folders: dict[PurePosixPath, str] = {PurePosixPath("."): ""}
        for number, (name, content) in enumerate(sorted(contents.items())):
            path = PurePosixPath(name)
            for folder in [*reversed(path.parents)][1:]:
                if folder not in folders:
                    folders[folder] = f"{folders[folder.parent]}/D{len(folders)}"
                    made.add_directory(folders[folder], rr_name=folder.name, joliet_path=f"/{folder}")
            short = all(len(part) <= _JOLIET_NAME for part in path.parts)
            made.add_fp(
                io.BytesIO(content), len(content), f"{folders[path.parent]}/FILE{number}.;1", rr_name=path.name,
                joliet_path=f"/{path}" if short else None,
            )
        written = io.BytesIO()
        made.write_fp(written)
        made.close()
    except PyCdlibException as error:
        raise ValueError(f"cannot be put on an ISO image: {error}") from error
    return written.getvalue()


def prepare(volume: str, path: Path, label: str, contents: Callable[[], Mapping[str, bytes]]) -> int:
    """Write the image of a volume to ``path`` unless it is there; its size. ``contents`` may raise OSError and
    ValueError, of which DiskError is made."""
    if not path.exists():
        try:
            write(path, contents(), label)
        except (OSError, ValueError) as error:
            raise DiskError(f"volume {volume}: {error}") from error
    return path.stat().st_size


def write(path: Path, contents: Mapping[str, bytes], label: str) -> None:
    """Write the image whole or not at all, for our own user only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.new")
    unfinished.unlink(missing_ok=True)
    fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
    with os.fdopen(fd, "wb") as file:
        file.write(image(contents, label))
    unfinished.replace(path)
