"""tiny's own kernel: what its recipe may say, and what is kept of the build."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from cluster_up import exec as host
from cluster_up.images.guests import elf, own_kernel
from cluster_up.images.recipe import RECIPES

from .test_formats import program

RECIPE = RECIPES / "guests" / "kernel"


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_each_line_asks_for_one_thing_once() -> None:
    lines = [line for line in (RECIPE / "config").read_text().splitlines() if line and not line.startswith("# ")]
    odd = [line for line in lines if not re.fullmatch(r'CONFIG_[A-Z0-9_]+=(y|[0-9]+|"[^"]*")', line)]
    assert odd == []
    assert [name for name, count in Counter(line.partition("=")[0] for line in lines).items() if count > 1] == []


def test_the_kernel_is_kept_in_the_forms_that_guests_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[Sequence[str | Path]] = []

    def run(argv: Sequence[str | Path], **options: object) -> None:
        commands.append(argv)
        hook = next(str(word) for word in argv if str(word).startswith("--customize-hook="))
        out = Path(hook.split()[-1])
        (out / "vmlinux").write_bytes(program([(1, 0x1000, b"text" * 9, 36)]) + b"sections")
        (out / "vmlinuz").write_bytes(b"packed")
        (out / "config").write_text("CONFIG_SMP=y")

    monkeypatch.setattr(host, "run", run)
    assert not own_kernel.is_there()
    folder = own_kernel.files(lambda line: None)
    assert own_kernel.is_there()
    assert own_kernel.files(lambda line: None) == folder
    assert {path.name for path in folder.iterdir()} == {"vmlinux", "vmlinuz", "config"}
    assert b"sections" not in (folder / "vmlinux").read_bytes()
    assert [part.in_file for part in elf.segments((folder / "vmlinux").read_bytes())] == [36]
    assert [list(argv[:3]) for argv in commands] == [["nice", "-n", "19"]]
