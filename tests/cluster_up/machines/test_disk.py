"""What the initrd of a machine loads, and what names its disk."""

import lzma
from pathlib import Path

from cluster_up.machines.disk import identity, needed


def module(folder: Path, name: str, *depends: str) -> Path:
    path = folder / f"{name}.ko.xz"
    path.write_bytes(lzma.compress(b"\0license=GPL\0depends=" + ",".join(depends).encode() + b"\0"))
    return path


def test_modules_are_loaded_after_what_they_need(tmp_path: Path) -> None:
    known = {
        "ext4": module(tmp_path, "ext4", "jbd2", "mbcache"), "jbd2": module(tmp_path, "jbd2", "crc32c-own"),
        "mbcache": module(tmp_path, "mbcache"), "crc32c_own": module(tmp_path, "crc32c_own"),
        "virtio_blk": module(tmp_path, "virtio_blk", "builtin"), "sound": module(tmp_path, "sound"),
    }  # fmt: skip
    order = [name for name, _ in needed(known)]
    assert sorted(order) == ["crc32c_own", "ext4", "jbd2", "mbcache", "virtio_blk"]      # what is not there is built in
    assert order.index("crc32c_own") < order.index("jbd2") < order.index("ext4")
    assert all(b"license=GPL" in data for _, data in needed(known))


def test_a_disk_is_made_anew_for_another_node_or_other_layers() -> None:
    names = [identity("node:1", []), identity("node:2", []), identity("node:1", ["base:1"]), identity("node:1", [])]
    assert len(set(names)) == 3
    assert names[0] == names[3]
