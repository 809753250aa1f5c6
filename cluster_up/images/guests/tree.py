"""A root file system that was unpacked, not installed: finds programs in it and the libraries they need."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from cluster_up.images.guests import cpio, elf

_PROGRAMS = ("usr/bin", "usr/sbin", "bin", "sbin")
_LIBRARIES = ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu", "usr/lib64", "lib64")
_LINKER = "ld-linux-x86-64.so.2"


def find(root: Path, name: str, folders: Sequence[str]) -> Path:
    """The file ``name`` in the first of ``folders`` that has it. Raises FileNotFoundError."""
    for folder in folders:
        path = root / folder / name
        if path.exists():
            return path
    raise FileNotFoundError(f"{name} is in none of {', '.join(folders)} of {root}")


def program(root: Path, name: str) -> Path:
    return find(root, name, _PROGRAMS)


def entries(root: Path, programs: Iterable[str]) -> list[cpio.Entry]:
    """The programs, in usr/sbin, and every library they need, at the paths where the dynamic linker looks."""
    found: dict[str, cpio.Entry] = {}
    rest: list[str] = []
    for name in programs:
        data = program(root, name).read_bytes()
        found[name] = cpio.file(f"usr/sbin/{name}", data, executable=True)
        rest += elf.needed(data)
    while rest:
        library = rest.pop()
        if library not in found:
            data = find(root, library, _LIBRARIES).read_bytes()
            folder = "usr/lib64" if library == _LINKER else _LIBRARIES[0]
            found[library] = cpio.file(f"{folder}/{library}", data, executable=True)
            rest += elf.needed(data)
    return list(found.values())
