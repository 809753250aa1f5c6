from pathlib import Path

from virt.launcher import capabilities


def test_what_is_known_is_given_to_libvirt(tmp_path: Path) -> None:
    known, cache = tmp_path / "known", tmp_path / "cache"
    known.mkdir()
    (known / "abc.xml").write_text("<qemuCaps/>")
    (known / "large.xml").write_bytes(b" " * (2 << 20))
    capabilities.adopt(known, cache)
    assert [path.name for path in (cache / "libvirt/qemu/cache/capabilities").iterdir()] == ["abc.xml"]


def test_nothing_known_makes_nothing(tmp_path: Path) -> None:
    capabilities.adopt(tmp_path / "nowhere", tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
