"""New qcow2 files, by qemu-img."""

from pathlib import Path

from virt.base import exec as process

_DEADLINE_S = 30
_MODE = 0o640           # what a guest writes is nobody else's


async def create_overlay(path: Path, *, backing: Path, backing_format: str, size: int) -> None:
    """A file that takes the writes for ``backing``, which stays as it is. An overlay that exists is kept.

    ``backing`` is stored as written and not opened (-u): it may be a link that leads nowhere by name.
    """
    await _create(path, size, "-u", "-b", str(backing), "-F", backing_format)


async def create_empty(path: Path, *, size: int) -> None:
    """A sparse disk. One that exists is kept: its content outlives a restart of the guest."""
    await _create(path, size)


async def _create(path: Path, size: int, *options: str) -> None:
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.new")
    await process.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", *options, str(unfinished), str(size)], deadline_s=_DEADLINE_S
    )
    unfinished.chmod(_MODE)
    unfinished.replace(path)
