"""Whether a guest image can be made again: two builds of one recipe, and not a byte between them.

    python -m benchmarks.reproducible tiny       # with Debian's kernel; a minute
    python -m benchmarks.reproducible kernel     # tiny with its own kernel; compiles it twice
    python -m benchmarks.reproducible debian     # ten minutes

Each build has an empty cache, in a folder of its own; the second one also has another time zone. Packages are fetched
for each: a newer one in between makes other bytes. No engine and no cluster are needed, and nothing of them is touched.
Prints one JSON object: ``files`` (path in the cache -> SHA-256) and ``images`` (id of the container image) of the first
build, ``differs`` (the first file that is not the same, and where; null when all are). Ends with 1 when something
differs. ``--keep FOLDER``: what was built stays there, to be looked at.
"""

import argparse
import contextlib
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster_up import paths
from cluster_up.images import scratch
from cluster_up.images.guests import catalogue, container

# Images, and whether it is their best recipe. With an empty cache tiny's other one has Debian's kernel.
GUESTS: Mapping[str, tuple[tuple[str, ...], bool]] = {
    "tiny": (("tiny-kernel", "tiny"), False),
    "kernel": (("tiny-kernel", "tiny"), True),
    "debian": (("debian",), True),
}
_TIME_ZONES = ("UTC", "Pacific/Auckland")
_BLOCK = 1024 * 1024


@dataclass(frozen=True)
class Built:
    """What one build left: SHA-256 by path below its cache, the id of each image by name."""

    root: Path
    files: Mapping[str, str]
    images: Mapping[str, str]
    seconds: float


def build(guest: str, cache: Path, zone: str) -> Built:
    """Make all of ``guest`` in the empty folder ``cache``."""
    os.environ.update(XDG_CACHE_HOME=str(cache), TZ=zone)
    names, best = GUESTS[guest]
    recipes = {name: catalogue.IMAGES[name].best() if best else catalogue.IMAGES[name].now() for name in names}
    started = time.monotonic()
    folders = {name: recipe.make(_say) for name, recipe in recipes.items()}
    seconds = time.monotonic() - started
    images: dict[str, str] = {}
    for name, folder in folders.items():
        files = {target: folder / source for target, source in catalogue.IMAGES[name].files.items()}
        with scratch.folder("reproducible") as place:
            images[name] = container.write(place / "image.tar", f"{name}:same", files)
    return Built(paths.cache_root(), hashes(paths.cache_root()), images, seconds)


def hashes(root: Path) -> dict[str, str]:
    """SHA-256 of every file that was made for a guest, by path below ``root``; sorted."""
    found: dict[str, str] = {}
    for path in sorted(root.glob("guest-*/**/*")):
        if path.is_file():
            with path.open("rb") as data:
                found[str(path.relative_to(root))] = hashlib.file_digest(data, "sha256").hexdigest()
    return found


def difference(first: Built, second: Built) -> dict[str, Any] | None:
    """The first file that only one build has, or that is not the same in both, with the first byte that differs; the
    first image where all files are the same; None when nothing differs."""
    for name in sorted({*first.files, *second.files}):
        if first.files.get(name) != second.files.get(name):
            sides = [side.root / name for side in (first, second)]
            there = [side.stat().st_size if side.exists() else None for side in sides]
            byte = first_difference(*sides) if None not in there else None
            return {"file": name, "bytes": there, "first_byte": byte}
    for name in first.images:
        if first.images[name] != second.images[name]:
            return {"image": name, "ids": [first.images[name], second.images[name]]}
    return None


def first_difference(one: Path, other: Path) -> int | None:
    """Offset of the first byte that is not the same in two files; the end of the shorter one counts as a byte."""
    offset = 0
    with one.open("rb") as left, other.open("rb") as right:
        while True:
            a, b = left.read(_BLOCK), right.read(_BLOCK)
            if a != b:
                length = min(len(a), len(b))
                return offset + next((place for place in range(length) if a[place] != b[place]), length)
            if not a:
                return None
            offset += len(a)


def document(guest: str, first: Built, second: Built) -> dict[str, Any]:
    """What is printed."""
    differs = difference(first, second)
    return {
        "benchmark": "reproducible", "guest": guest, "same": differs is None, "differs": differs,
        "seconds": [round(each.seconds, 1) for each in (first, second)],
        "files": dict(first.files), "images": dict(first.images), "bar": {"same": True},
    }  # fmt: skip


def _say(line: str) -> None:
    print(line, file=sys.stderr)


@contextlib.contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    if kept is None:
        with tempfile.TemporaryDirectory(prefix="bench-reproducible-") as place:
            yield Path(place)
    else:
        kept.mkdir(parents=True, exist_ok=True)
        if any(kept.iterdir()):
            raise SystemExit(f"--keep: {kept} is not empty; name a folder that is, or that is not there yet")
        yield kept


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("guest", choices=list(GUESTS), nargs="?", default="tiny")
    arguments.add_argument("--keep", type=Path, metavar="FOLDER", help="leave both caches there; it must be empty")
    chosen = arguments.parse_args()
    with _folder(chosen.keep) as place:
        # Paths of two lengths: one that gets into a file shows.
        first, second = (
            build(chosen.guest, (place / name).absolute(), zone)
            for name, zone in zip(("first", "the-second"), _TIME_ZONES, strict=True)
        )
        found = document(chosen.guest, first, second)
    print(json.dumps(found, indent=2))
    sys.exit(0 if found["same"] else 1)


if __name__ == "__main__":
    main()
