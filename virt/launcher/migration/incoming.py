"""The guest arrives: libvirt makes its domain when the other side asks for it, and it is ours once it may run."""

import asyncio
from pathlib import Path

from virt.api import names
from virt.base import log
from virt.launcher.libvirt_conn import Hypervisor, HypervisorError, Notice, Resumed
from virt.rpc.messages import LIBVIRT_PORT, DomainState

LOOK_S = 1.0                    # events are lost when libvirt's daemon is replaced
# Why a domain is paused while its guest is coming; paused by a person, it has arrived.
_ON_ITS_WAY = ("Migration", "StartingUp", "Unknown", "FromSnapshot")
# In post-copy it runs here while the other side still has memory that it needs.
_BY_HALVES = ("Postcopy", "PostcopyFailed")
_logger = log.get("virt.launcher.migration")


def has_arrived(state: DomainState, reason: str, *, has_run: bool) -> bool:
    """``has_run``: its processors were let run here. A guest may be so quick that it has shut down already; but QEMU
    calls it a shutdown too when libvirt ends it, because the migration was aborted.

    >>> has_arrived(DomainState.PAUSED, "Migration", has_run=False), has_arrived(DomainState.SHUTDOWN, "", has_run=True)
    (False, True)
    """
    match state:
        case DomainState.RUNNING:
            return reason not in _BY_HALVES
        case DomainState.PAUSED:
            return reason not in (*_ON_ITS_WAY, *_BY_HALVES)
        case DomainState.SHUTDOWN:
            return has_run
    return state is DomainState.SHUTOFF and reason == "Shutdown" and has_run


class Incoming:
    def __init__(self, hypervisor: Hypervisor, domain: str) -> None:
        self._hypervisor = hypervisor
        self._domain = domain
        self._look = asyncio.Event()
        self._has_run = False
        hypervisor.subscribe(self._hear)

    def _hear(self, notice: Notice) -> None:
        if notice.domain == self._domain:
            self._has_run |= isinstance(notice, Resumed)
            self._look.set()

    def _is_here(self, state: DomainState, reason: str) -> bool:
        return has_arrived(state, reason, has_run=self._has_run)

    async def arrival(self) -> str:
        """The domain's description, when the guest is here. An attempt that failed is followed by the wait for another
        one, and a libvirt that cannot tell now is asked again: nobody else would ever find the guest."""
        said = ""
        while True:
            self._look.clear()
            try:
                state, reason = await self._hypervisor.state(self._domain)
                found = await self._hypervisor.describe(self._domain) if self._is_here(state, reason) else ""
            except HypervisorError as error:
                state, reason, found = DomainState.NONE, str(error), ""
            if (now := f"{state} {reason}") != said:
                said = now
                _logger.info("incoming domain", state=state.value, reason=reason)
            if found:
                return found
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._look.wait()
            except TimeoutError:
                pass


def target_socket(port: int) -> Path:
    """Where in a target what belongs to ``port`` listens."""
    return Path(names.LIBVIRT_SOCKET) if port == LIBVIRT_PORT else Path(names.migration_socket(port))
