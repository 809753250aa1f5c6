from types import SimpleNamespace
from typing import Any

import pytest

from functests.libs.launcher import Launcher

SMAPS = """\
7f8bf1e00000-7f8bf2dfb000 r--p 00000000 fe:00 10969913                   /boot/initrd
Size:              16364 kB
Rss:               16000 kB
Pss:               16000 kB
7f8bf2e00000-7f8bf3045000 rw-p 00000000 fe:00 10969903                   /boot/vmlinux
Size:               8000 kB
Rss:                   4 kB
7f8bf3045000-7f8bf3145000 rw-p 00245000 fe:00 10969903                   /boot/vmlinux
Size:               1024 kB
Rss:                   8 kB
7f8bf3e00000-7f8bfbe00000 rw-p 00000000 00:00 0
Rss:              120832 kB
"""


def test_what_is_in_memory_of_a_mapped_file() -> None:
    process = {"pid": 7, "is_qemu": True}
    node: Any = SimpleNamespace(run=lambda _: SMAPS, qemu=lambda _: SimpleNamespace(**process))
    seen = Launcher(node, "uid")
    assert [seen.mapped_kib(path) for path in ("/boot/initrd", "/boot/vmlinux")] == [16000, 12]
    with pytest.raises(AssertionError, match="/boot/vmlinuz"):
        seen.mapped_kib("/boot/vmlinuz")
