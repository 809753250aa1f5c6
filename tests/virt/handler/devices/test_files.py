import stat
from pathlib import Path

from virt.handler.devices import files


def test_capabilities_are_those_of_the_source_only(tmp_path: Path) -> None:
    source, target = tmp_path / "from", tmp_path / "launcher" / "capabilities"
    source.mkdir()
    (source / "abc.xml").write_text("<qemuCaps/>")
    (source / "link.xml").symlink_to("/etc/passwd")
    target.mkdir(parents=True)
    (target / "old.xml").touch()
    files.copy_capabilities(source, target)
    assert [path.name for path in target.iterdir()] == ["abc.xml"]
    assert stat.S_IMODE((target / "abc.xml").stat().st_mode) == 0o644
    files.copy_capabilities(tmp_path / "nowhere", target)
    assert not target.exists()


def test_device_nodes_that_nobody_offers_go(tmp_path: Path) -> None:
    folder = tmp_path / "vfio"
    folder.mkdir()
    for name in ("vfio", "12", "13", ".14.new"):
        (folder / name).touch()
    files.remove_others(folder, {"vfio", "13"})
    assert sorted(path.name for path in folder.iterdir()) == ["13", "vfio"]
    files.remove_others(folder, ())
    assert not folder.exists()
    files.remove_others(folder, ())
