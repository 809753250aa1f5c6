"""Gives a guest's kernel and initrd back to the node once the guest has booted from them.

QEMU keeps both files mapped for the next reset: tens of MiB of page cache in every launcher that boots a kernel. The
kernel is asked to take these pages back (process_madvise(2), MADV_PAGEOUT), which needs the rights of the handler.
Nothing is lost: QEMU reads the files again when the guest is reset, and a later look takes the pages back once more.
Pages that another process maps too, as QEMUs on one node with one image do, the kernel leaves alone.
"""

import asyncio
import contextlib
import ctypes
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from virt.api import v1
from virt.base import log
from virt.base.clock import Clock
from virt.handler.launchers.launcher import Launcher
from virt.handler.launchers.process import Process, family, parent, pod_of

LOOK_S = 15.0
BOOTED_S = 30.0             # a guest that needs longer for its firmware makes QEMU read the files once more
_LEAST = 1 << 20            # smaller data files are the C library's
_MAPPING = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ (\S+ \d+) +/", re.MULTILINE)
_PROCESS_MADVISE, _MADV_PAGEOUT = 440, 21       # the same numbers on all architectures

_logger = log.get("virt.handler.bootfiles")
_libc = ctypes.CDLL(None, use_errno=True)


class Range(NamedTuple):
    start: int
    length: int


class _Vector(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("start", ctypes.c_void_p), ("length", ctypes.c_size_t))


Advise = Callable[[int, Sequence[Range]], None]


def boots_kernel(vmi: v1.VirtualMachineInstance) -> bool:
    firmware = vmi.spec.domain.firmware
    return firmware is not None and firmware.kernel_boot is not None


def data_files(maps: str) -> tuple[Range, ...]:
    """Where a process (its /proc/PID/maps) maps files that hold data: private, and no part of a program or library."""
    found = [(int(start, 16), int(end, 16), mode, file) for start, end, mode, file in _MAPPING.findall(maps)]
    programs = {file for _, _, mode, file in found if "x" in mode}
    return tuple(
        Range(start, end - start) for start, end, mode, file in found
        if mode.endswith("p") and file not in programs and end - start >= _LEAST
    )


def page_out(pidfd: int, ranges: Sequence[Range]) -> None:
    """Have the kernel take back the clean pages of files there. Raises OSError."""
    vector = (_Vector * len(ranges))(*(_Vector(*each) for each in ranges))
    arguments = (pidfd, vector, ctypes.c_size_t(len(ranges)), _MADV_PAGEOUT, 0)
    if _libc.syscall(_PROCESS_MADVISE, *arguments) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class BootFiles:
    """Looks at the launchers again and again: a guest may be reset at any time."""

    def __init__(
        self, launchers: Iterable[Launcher], *, clock: Clock, proc: Path = Path("/proc"), advise: Advise = page_out
    ) -> None:
        self._launchers = launchers
        self._clock = clock
        self._proc = proc
        self._advise = advise
        self._since: dict[str, float] = {}          # by pod: when its guest was first seen
        self._refused = ""

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await self.look()
            await self._clock.sleep(LOOK_S)

    async def look(self) -> None:
        now = self._clock.monotonic()
        guests = [each for each in self._launchers if each.has_live_guest and boots_kernel(each.vmi)]
        self._since = {each.pod_uid: self._since.get(each.pod_uid, now) for each in guests}
        for launcher in guests:
            if now - self._since[launcher.pod_uid] >= BOOTED_S:
                await asyncio.to_thread(self._give_back, launcher.process)

    def _give_back(self, process: Process) -> None:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):        # the launcher has ended meanwhile
            # QEMU is no child of the launcher: libvirt's daemon starts it in the background, so PID 1 takes it over.
            for pid in family(parent(process.pid, self._proc), self._proc):
                try:
                    self._of_process(pid, process.pod_uid)
                except (FileNotFoundError, ProcessLookupError):
                    continue
                except OSError as error:
                    self._tell(error)

    def _tell(self, error: OSError) -> None:
        """Once: a node that refuses goes on refusing."""
        if str(error) != self._refused:
            self._refused = str(error)
            _logger.warning("launchers keep kernel and initrd in memory", error=str(error))

    def _of_process(self, pid: int, pod_uid: str) -> None:
        # What is opened stays this process, also when its number is given to another one meanwhile.
        pidfd = os.pidfd_open(pid)
        try:
            if pod_of(pid, self._proc) != pod_uid:
                return
            if ranges := data_files((self._proc / str(pid) / "maps").read_text()):
                self._advise(pidfd, ranges)
        finally:
            os.close(pidfd)
