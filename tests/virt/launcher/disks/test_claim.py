"""disk.img of a claim: its size, its making, and what is not followed."""

import fcntl
import os
import struct
from pathlib import Path

import pytest

from virt.api.v1 import PersistentVolumeClaimInfo, VolumeStatus
from virt.launcher.disks import claim
from virt.launcher.disks.claim import Space, disk_size, wanted_size
from virt.launcher.disks.errors import DiskError

MIB = 1 << 20


@pytest.mark.parametrize(
    ("wanted", "available", "size_mib"),
    [(50 * MIB, 1000 * MIB, 50), (50 * MIB + 5, 1000 * MIB, 50), (100 * MIB, 95 * MIB, 94), (None, 10 * MIB, 9)],
    ids=["room enough", "whole MiB", "a tenth less is taken", "all there is"],
)
def test_size(wanted: int | None, available: int, size_mib: int) -> None:
    assert disk_size(Space(wanted, available)) == size_mib * MIB


def test_too_little_space_is_refused_with_both_numbers() -> None:
    said = f"not enough space: {100 * MIB} bytes are wanted, the file system has {80 * MIB - (128 << 10)} left"
    with pytest.raises(ValueError, match=said):
        disk_size(Space(100 * MIB, 80 * MIB))


def test_the_lesser_of_request_and_capacity_is_wanted() -> None:
    info = PersistentVolumeClaimInfo(capacity={"storage": "64Mi"}, requests={"storage": "50Mi"})
    statuses = (VolumeStatus(name="other"), VolumeStatus(name="data", persistent_volume_claim_info=info))
    assert wanted_size("data", statuses) == 50 * MIB
    assert wanted_size("other", statuses) is None


def test_a_file_made_smaller_says_what_it_should_have_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim, "disk_size", lambda _space: 9 * MIB)
    made = claim.prepare_file("data", tmp_path, 10 * MIB + 5, read_only=False)
    assert (made.size, made.short_of) == (9 * MIB, 10 * MIB)


def test_a_missing_file_is_made_sparse_and_kept(tmp_path: Path) -> None:
    made = claim.prepare_file("data", tmp_path, 2 * MIB, read_only=False)
    path = made.path
    assert (path.stat().st_size, made.size, path.stat().st_blocks, made.short_of) == (2 * MIB, 2 * MIB, 0, 0)
    assert not made.is_preallocated
    path.write_bytes(b"guest")
    again = claim.prepare_file("data", tmp_path, 2 * MIB, read_only=False)
    assert (again.path, again.size, again.short_of) == (path, 5, 0)
    assert [each.name for each in tmp_path.iterdir()] == [claim.FILE]


def test_links_and_pipes_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"secret")
    (tmp_path / claim.FILE).symlink_to(tmp_path / "target")
    with pytest.raises(DiskError, match=r"volume data: .*/disk\.img is no regular file"):
        claim.prepare_file("data", tmp_path, MIB, read_only=False)
    (tmp_path / claim.FILE).unlink()
    os.mkfifo(tmp_path / claim.FILE)
    with pytest.raises(DiskError, match="no regular file"):
        claim.prepare_file("data", tmp_path, MIB, read_only=False)


def test_a_missing_file_of_a_read_only_claim_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match=r"volume data: .*read-only"):
        claim.prepare_file("data", tmp_path, MIB, read_only=True)
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_made_is_told_with_the_same_words_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A text that changes would change the VMI, and so start the next try without a pause."""
    tmp_path.chmod(0o755)

    def refused(path: Path, *_: object) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("virt.launcher.disks.claim.os.open", refused)
    texts = set()
    for _ in range(2):
        with pytest.raises(DiskError) as error:
            claim.prepare_file("data", tmp_path, 1 << 20, read_only=False)
        texts.add(str(error.value))
    (text,) = texts
    assert text == (
        f"volume data: cannot make {tmp_path}/disk.img as uid {os.getuid()}: Permission denied "
        f"(its folder has mode 0755 and uid {os.getuid()})")


def test_a_file_with_all_its_blocks_is_preallocated(tmp_path: Path) -> None:
    (tmp_path / claim.FILE).write_bytes(bytes(MIB))
    assert claim.prepare_file("data", tmp_path, MIB, read_only=False).is_preallocated


def test_what_is_no_device_is_no_block_claim(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"x")
    with pytest.raises(DiskError, match="is no block device"):
        claim.block_size("data", tmp_path / "data")
    with pytest.raises(DiskError, match="No such file"):
        claim.block_size("data", tmp_path / "nothing")


def test_a_copy_is_as_large_as_its_source_to_the_byte(tmp_path: Path) -> None:
    size = 3 * MIB + 512
    made = claim.prepare_copy("data", tmp_path, size)
    assert (made.size, made.path.stat().st_blocks) == (size, 0)
    again = claim.prepare_copy("data", tmp_path, size)
    assert again.size == size
    made.path.write_bytes(bytes(5 * MIB))
    assert claim.prepare_copy("data", tmp_path, size).size == made.path.stat().st_size == size


def test_a_smaller_destination_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / claim.FILE).write_bytes(b"small")
    with pytest.raises(DiskError, match="destination volume is smaller than the source"):
        claim.prepare_copy("data", tmp_path, MIB)
    assert (tmp_path / claim.FILE).read_bytes() == b"small"


def test_a_copy_whose_size_nobody_knows_is_not_begun(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="size of its source is not known"):
        claim.prepare_copy("data", tmp_path, 0)
    assert not list(tmp_path.iterdir())


def test_a_copy_needs_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim, "_available", lambda _folder: 32 * MIB)
    said = f"not enough space: {64 * MIB} bytes are wanted, the file system has {32 * MIB - (128 << 10)} left"
    with pytest.raises(DiskError, match=said):
        claim.prepare_copy("data", tmp_path, 64 * MIB)
    assert not list(tmp_path.iterdir())
    (tmp_path / claim.FILE).write_bytes(bytes(30 * MIB))
    assert claim.prepare_copy("data", tmp_path, 30 * MIB).size == 30 * MIB, "what the file has already counts"


def test_a_file_that_a_guest_has_open_is_not_cut(tmp_path: Path) -> None:
    path = tmp_path / claim.FILE
    path.write_bytes(bytes(2 * MIB))
    with path.open("r+b") as opened:
        lock = struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, 201, 1, 0)       # as QEMU's
        fcntl.fcntl(opened, fcntl.F_OFD_SETLK, lock)
        with pytest.raises(DiskError, match="is in use by another guest"):
            claim.prepare_copy("data", tmp_path, MIB)
    assert path.stat().st_size == 2 * MIB


@pytest.mark.parametrize(("size", "said"), [(8, ""), (9, "smaller than the source"), (7, "as large as that")])
def test_a_device_has_to_be_as_large_as_its_source(monkeypatch: pytest.MonkeyPatch, size: int, said: str) -> None:
    monkeypatch.setattr(claim, "block_size", lambda _volume, _device: 8)
    if not said:
        assert claim.check_copy("data", Path("/dev/data"), size) == 8
        return
    with pytest.raises(DiskError, match=said):
        claim.check_copy("data", Path("/dev/data"), size)
