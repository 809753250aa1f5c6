"""The debian guest: what its packages are set up with, and when another image is due."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from cluster_up import exec as host
from cluster_up.images.guests import debian_guest, disk
from cluster_up.images.recipe import RECIPES


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_packages_are_set_up_in_one_locale_and_one_time_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    seen: dict[str, dict[str, str]] = {}

    def run(argv: Sequence[str | Path], *, env: dict[str, str] | None = None, **options: object) -> None:
        program = "mmdebstrap" if "mmdebstrap" in argv else str(argv[1])
        seen[program] = env or {}
        if program == "qemu-img":
            Path(argv[-1]).write_bytes(b"disk")

    monkeypatch.setattr(host, "run", run)
    monkeypatch.setattr(disk, "make_partitioned", lambda image, layout: None)
    monkeypatch.setattr(disk, "make_bootable", lambda *what: None)
    folder = debian_guest.files(lambda line: None)
    assert [path.name for path in folder.iterdir()] == ["disk.qcow2"]
    assert set(seen) == {"mmdebstrap", "qemu-img"}
    assert {name: seen["mmdebstrap"].get(name) for name in ("TZ", "LC_ALL")} == {"TZ": "UTC", "LC_ALL": "C.UTF-8"}


def test_a_changed_script_or_time_is_another_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {debian_guest.identity()}
    monkeypatch.setattr(debian_guest, "EPOCH", 1)
    found.add(debian_guest.identity())
    recipe = tmp_path / "debian"
    shutil.copytree(RECIPES / "guests" / "debian", recipe)
    with (recipe / "finish.sh").open("a") as script:
        script.write("true\n")
    monkeypatch.setattr(debian_guest, "_RECIPE", recipe)
    found.add(debian_guest.identity())
    assert len(found) == 3
