import mmap
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.fakes.clock import FakeClock
from virt.api import v1
from virt.handler.launchers.bootfiles import BOOTED_S, BootFiles, Range, boots_kernel, data_files, page_out
from virt.handler.launchers.launcher import Launcher
from virt.handler.launchers.process import Process
from virt.rpc.messages import DomainState, DomainStatus

POD, OTHER = "0b8b2a3c-5f0e-4a5b-9d0c-1f2e3d4c5b6a", "0b8b2a3c-5f0e-4a5b-9d0c-1f2e3d4c5b6b"
MAPS = """\
562cf566a000-562cf5b06000 r--p 00000000 00:27 2114252                    /usr/bin/qemu-system-x86_64
562cf5b06000-562cf61a8000 r-xp 0049c000 00:27 2114252                    /usr/bin/qemu-system-x86_64
562cf710f000-562cf7212000 rw-p 01aa4000 00:27 2114252                    /usr/bin/qemu-system-x86_64
562d28973000-562d2b1bf000 rw-p 00000000 00:00 0                          [heap]
7f8be4000000-7f8be6baf000 rw-p 00000000 00:00 0
7f8bea000000-7f8bea200000 rw-s 00000000 00:01 77                         /dev/shm/guest-memory (deleted)
7f8bf1d00000-7f8bf1d55000 r--p 00000000 00:27 2114999                    /usr/lib/locale/C.utf8/LC_CTYPE
7f8bf1e00000-7f8bf2dfb000 r--p 00000000 fe:00 10969913                   /boot/initrd of mine
7f8bf2e00000-7f8bf3b45000 rw-p 00000000 fe:00 10969903                   /boot/vmlinux
7f8bf3e00000-7f8bfbe00000 rw-p 00000000 00:00 0
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
"""
BOOT_FILES = (Range(0x7F8BF1E00000, 0xFFB000), Range(0x7F8BF2E00000, 0xD45000))
KERNEL_BOOT = v1.Firmware(kernel_boot=v1.KernelBoot(container=v1.KernelBootContainer(image="i")))


def vmi(firmware: v1.Firmware | None = KERNEL_BOOT) -> v1.VirtualMachineInstance:
    return v1.VirtualMachineInstance(spec=v1.VirtualMachineInstanceSpec(domain=v1.DomainSpec(firmware=firmware)))


class World:
    """A /proc with real numbers, since processes are opened: PID 1 of the pod is our parent, the launcher is we."""

    def __init__(self, folder: Path, firmware: v1.Firmware | None = KERNEL_BOOT, *, pod: str = POD) -> None:
        self.init, self.own = os.getppid(), os.getpid()
        for pid, children, maps in ((self.init, str(self.own), MAPS), (self.own, "", "")):
            place = folder / str(pid)
            (place / "task" / str(pid)).mkdir(parents=True)
            (place / "task" / str(pid) / "children").write_text(children)
            (place / "cgroup").write_text(f"0::/kubepods/pod{pod}/a\n")
            (place / "maps").write_text(maps)
            (place / "stat").write_text(f"{pid} (a) b) S {self.init} 1 1 0")
        self.advised: list[Sequence[Range]] = []
        self.refusal: OSError | None = None
        self.clock = FakeClock()
        self.launcher = Launcher("ns/vm", vmi(firmware), Process(self.own, POD, -1, -1))
        self.launchers = [self.launcher]
        self.files = BootFiles(self.launchers, clock=self.clock, proc=folder, advise=self._advise)
        self.live()

    def live(self, state: DomainState = DomainState.RUNNING) -> None:
        self.launcher._peer = object()  # type: ignore[assignment]  # connected
        self.launcher.status = DomainStatus(state=state)

    def _advise(self, pidfd: int, ranges: Sequence[Range]) -> None:
        os.fstat(pidfd)
        self.advised.append(ranges)
        if self.refusal is not None:
            raise self.refusal

    async def look_after(self, seconds: float) -> int:
        """How often the kernel was asked in a look then."""
        before = len(self.advised)
        self.clock.passed_s += seconds
        await self.files.look()
        return len(self.advised) - before


def test_kernel_and_initrd_are_the_files_that_are_neither_program_nor_library_nor_shared() -> None:
    assert data_files(MAPS) == BOOT_FILES
    assert data_files("") == ()


def test_only_a_guest_that_boots_a_kernel_has_such_files() -> None:
    assert [boots_kernel(vmi(each)) for each in (KERNEL_BOOT, v1.Firmware(), None)] == [True, False, False]


async def test_the_files_are_given_back_once_the_guest_has_booted_and_again_after_that(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert [await world.look_after(seconds) for seconds in (0, BOOTED_S - 1, 1, 15)] == [0, 0, 1, 1]
    assert world.advised[0] == BOOT_FILES


async def test_a_new_guest_of_a_pod_that_lost_its_launcher_for_a_while_gets_its_time(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert [await world.look_after(seconds) for seconds in (0, BOOTED_S)] == [0, 1]
    world.launcher.status = None
    assert await world.look_after(1) == 0
    world.live(DomainState.PAUSED)
    assert [await world.look_after(seconds) for seconds in (1, BOOTED_S - 1, 1)] == [0, 0, 1]


async def test_nobody_else_is_touched(tmp_path: Path) -> None:
    for name, world in (
        ("disk", World(tmp_path / "disk", v1.Firmware())), ("pod", World(tmp_path / "pod", pod=OTHER)),
    ):
        assert [await world.look_after(seconds) for seconds in (0, BOOTED_S)] == [0, 0], name


async def test_a_guest_that_ends_meanwhile_is_no_trouble(tmp_path: Path) -> None:
    world = World(tmp_path)
    (tmp_path / str(world.init) / "maps").unlink()
    assert [await world.look_after(seconds) for seconds in (0, BOOTED_S)] == [0, 0]
    (tmp_path / str(world.own) / "stat").unlink()
    assert await world.look_after(1) == 0


async def test_a_node_that_refuses_is_told_of_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = World(tmp_path)
    world.refusal = PermissionError(1, "Operation not permitted")
    assert [await world.look_after(seconds) for seconds in (0, BOOTED_S, 15)] == [0, 1, 1]
    said = capsys.readouterr()
    assert (said.out + said.err).count("Operation not permitted") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="before Linux 6.13 only root may advise, even its own process")
def test_the_real_call_leaves_what_the_file_holds(tmp_path: Path) -> None:
    size = 2 << 20
    path = tmp_path / "initrd"
    path.write_bytes(b"boot" * (size // 4))
    pidfd = os.pidfd_open(os.getpid())
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), size, mmap.MAP_PRIVATE, mmap.PROT_READ) as mapped:
            os.fsync(file.fileno())
            assert mapped[:] == b"boot" * (size // 4)
            maps = Path("/proc/self/maps").read_text()
            (line,) = [each for each in maps.splitlines() if each.endswith(str(path))]
            (found,) = [each for each in data_files(maps) if each.start == int(line.partition("-")[0], 16)]
            assert found.length == size
            page_out(pidfd, [found])
            assert mapped[:] == b"boot" * (size // 4)
        with pytest.raises(OSError, match="Cannot allocate memory"):        # nothing is mapped there
            page_out(pidfd, [Range(mmap.PAGESIZE, mmap.PAGESIZE)])
    finally:
        os.close(pidfd)
