from pathlib import Path

from virt.launcher.daemon import Paths, files


def test_claims_count_as_shared_whatever_their_file_system_is() -> None:
    paths = Paths(run=Path("/r"), config=Path("/c"), cache=Path("/c"), claims=Path("/claims"))
    found = files(paths, "pod-uid")
    assert 'shared_filesystems = ["/claims"]\n' in found[Path("/c/libvirt/qemu.conf")]
    assert 'host_uuid = "pod-uid"\n' in found[Path("/c/libvirt/libvirtd.conf")]
