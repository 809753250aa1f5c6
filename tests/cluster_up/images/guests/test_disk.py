"""Disks that a BIOS boots: the same files give the same disk, at any time and in any time zone."""

import shutil
from pathlib import Path

import pytest

from cluster_up import exec as host
from cluster_up.images.guests import disk

TOOLS = ("mkfs.vfat", "mcopy", "syslinux")
LACKING = [name for name in TOOLS if shutil.which(name) is None]


def test_whatever_writes_times_gets_the_fixed_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, dict[str, str]] = {}

    def run(argv: list[str | Path], **options: dict[str, str]) -> None:
        seen[str(argv[0])] = options.get("env", {})

    monkeypatch.setattr(host, "run", run)
    for name in ("vmlinuz", "initrd"):
        (tmp_path / name).write_bytes(b"x")
    disk.make_bios(tmp_path / "disk.img", tmp_path / "vmlinuz", tmp_path / "initrd", "quiet")
    fixed = {"SOURCE_DATE_EPOCH": "1767225600", "TZ": "UTC"}
    assert seen == {"mkfs.vfat": {}, "mcopy": fixed, "syslinux": fixed}


@pytest.mark.runs_processes
@pytest.mark.skipif(bool(LACKING), reason=f"not installed: {', '.join(LACKING)}")
def test_two_disks_of_the_same_files_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[bytes] = []
    for zone in ("UTC", "Asia/Tokyo"):
        monkeypatch.setenv("TZ", zone)
        folder = tmp_path / zone.replace("/", "-")
        folder.mkdir()
        for name in ("vmlinuz", "initrd"):
            (folder / name).write_bytes(b"x" * 5000)
        disk.make_bios(folder / "disk.img", folder / "vmlinuz", folder / "initrd", "quiet")
        made.append((folder / "disk.img").read_bytes())
    assert made[0] == made[1]
