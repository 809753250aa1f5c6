"""Folders for what is being made. What a killed command left is swept away."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster_up import paths

_PUBLIC = "virt-harness-"


def root() -> Path:
    """Beside the cache, so that hard links work."""
    return paths.cache_root() / "scratch"


@contextmanager
def folder(thing: str) -> Iterator[Path]:
    """An empty folder that is gone afterwards. Its name starts with our process id: others know whose it is."""
    root().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root(), prefix=f"{os.getpid()}-{thing}-") as place:
        yield Path(place)


@contextmanager
def public_folder(thing: str) -> Iterator[Path]:
    """The same for programs that change their user: every user may enter it."""
    with tempfile.TemporaryDirectory(prefix=f"{_PUBLIC}{os.getpid()}-{thing}-", ignore_cleanup_errors=True) as place:
        Path(place).chmod(0o755)
        yield Path(place)


def sweep() -> None:
    """Remove folders of processes that have ended. A process id in use again only delays it."""
    public = Path(tempfile.gettempdir()).glob(f"{_PUBLIC}*")
    for left in [*(root().iterdir() if root().is_dir() else ()), *public]:
        if not is_owned(left.name.removeprefix(_PUBLIC)):
            shutil.rmtree(left, ignore_errors=True)


def is_owned(name: str) -> bool:
    """Whether the process that a folder's ``name`` starts with lives."""
    owner = name.partition("-")[0]
    return owner.isdigit() and Path(f"/proc/{owner}").exists()
