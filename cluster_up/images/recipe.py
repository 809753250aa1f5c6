"""The cache of what can be made again: one folder per thing, named by the hash of its recipe.

A folder appears by rename when it is complete, so that an interrupted build is never taken for a finished one, and two
builders of the same thing wait for each other.
"""

import fcntl
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster_up.paths import cache_root

RECIPES = Path(__file__).parent / "recipes"
DIGITS = 16
EPOCH = 1767225600                       # 2026-01-01 UTC: the time of what a recipe makes and no package dates
_whole: set[Path] = set()                # folders that this process has looked at: once is enough


def digest(*parts: str | bytes) -> str:
    """A short hash of ``parts``, in order; moving a byte from one part to the next changes it.

    >>> digest("ab", "c") == digest("a", "bc")
    False
    """
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(b"%d:" % len(data))
        total.update(data)
    return total.hexdigest()[:DIGITS]


def content(*roots: Path, skip: Callable[[Path], bool] = lambda path: False) -> list[bytes]:
    """Name and bytes of every file below ``roots`` (or of the files themselves), sorted: what :func:`digest` eats."""
    parts: list[bytes] = []
    for root in roots:
        for path in sorted(root.rglob("*")) if root.is_dir() else [root]:
            if path.is_file() and not skip(path):
                parts += [str(path.relative_to(root.parent)).encode(), path.read_bytes()]
    return parts


def made(thing: str, identity: str, make: Callable[[Path], None]) -> Path:
    """The folder of ``thing`` in the cache. ``make(folder)`` fills it, unless it is there already and undamaged."""
    place = place_of(thing, identity)
    if _is_whole(place):
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    with _locked(place.with_suffix(".lock")):
        if _is_whole(place):
            return place
        if place.exists():
            print(f"the cache is damaged: {damage(place)}; {place.name} is made again", file=sys.stderr)
            shutil.rmtree(place)
        part = place.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        try:
            make(part)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        _sizes_file(place).write_text(json.dumps(_sizes(part)))
        part.rename(place)
    return place


def place_of(thing: str, identity: str) -> Path:
    """Where :func:`made` puts it."""
    return cache_root() / f"{thing}-{identity}"


def is_made(thing: str, identity: str) -> bool:
    return _is_whole(place_of(thing, identity))


def damage(place: Path) -> str:
    """What is wrong with a folder of the cache; "" when each file is as long as it was made.

    A full disk or a power cut shortens files. A folder without a list of its sizes is taken as it is.
    """
    try:
        wanted: dict[str, int] = json.loads(_sizes_file(place).read_text())
    except FileNotFoundError:
        return ""
    except ValueError:
        return f"{_sizes_file(place)} cannot be read"
    found = _sizes(place)
    for name, size in wanted.items():
        if found.get(name) != size:
            there = "is missing" if name not in found else f"has {found[name]} bytes instead of {size}"
            return f"{place / name} {there}"
    return ""


def _is_whole(place: Path) -> bool:
    if place not in _whole and place.is_dir() and not damage(place):
        _whole.add(place)
    return place in _whole


def _sizes_file(place: Path) -> Path:
    return place.with_suffix(".sizes")


def _sizes(place: Path) -> dict[str, int]:
    """Length of every file below ``place``, by relative name."""
    return {
        str((Path(folder) / name).relative_to(place)): (Path(folder) / name).lstat().st_size
        for folder, _, names in os.walk(place)
        for name in names
    }


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
