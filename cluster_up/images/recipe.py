"""The cache of what can be made again: one folder per thing, named by the hash of its recipe.

A folder appears by rename when it is complete, so that an interrupted build is never taken for a finished one, and two
builders of the same thing wait for each other.
"""

import fcntl
import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster_up.paths import cache_root

RECIPES = Path(__file__).parent / "recipes"
DIGITS = 16


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
    """The folder of ``thing`` in the cache, made now with ``make(folder)`` unless it is there already."""
    place = place_of(thing, identity)
    if place.is_dir():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    with _locked(place.with_suffix(".lock")):
        if place.is_dir():
            return place
        part = place.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        try:
            make(part)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        part.rename(place)
    return place


def place_of(thing: str, identity: str) -> Path:
    """Where :func:`made` puts it."""
    return cache_root() / f"{thing}-{identity}"


def is_made(thing: str, identity: str) -> bool:
    return place_of(thing, identity).is_dir()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
