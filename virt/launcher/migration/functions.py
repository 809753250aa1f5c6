"""The virtual functions of one guest: detached while it migrates, attached otherwise.

What has been taken from the guest is owed to it until it is back, whatever happens between: a migration that fails, a
removal that the guest finishes after everybody has given up, a libvirt that is just being replaced. A function that the
guest itself has thrown out is its own affair, and stays out until the guest moves; people are told.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping

from virt.base import log
from virt.launcher.alias import FUNCTION, alias
from virt.launcher.libvirt_conn import DeviceGone, Hypervisor, HypervisorError, Notice, NotRunning, words
from virt.launcher.migration.release import pause_s, release, to_give
from virt.rpc.messages import DomainState

LOOK_S = 0.5                    # events are lost when libvirt's daemon is replaced
PATIENT_LOOK_S = 30.0           # for one that the guest may let go of at any time
THROWN_OUT = "the guest has let go of it unasked, and gets one again when it moves or is started anew"
_ALIVE = (DomainState.RUNNING, DomainState.PAUSED)
_logger = log.get("virt.launcher.migration")


class NotReleased(HypervisorError):
    """The guest still has its functions, and the migration is not to go on."""


class Functions:
    """``devices``: libvirt's description of each function, by the interface's name. ``tell`` is told why which ones are
    missing: still after a try to give them back, or thrown out by the guest; and {} once none is."""

    def __init__(
        self, hypervisor: Hypervisor, domain: str, devices: Mapping[str, str],
        tell: Callable[[Mapping[str, str]], Awaitable[None]],
    ) -> None:
        self._hypervisor = hypervisor
        self._domain = domain
        self._devices = devices
        self._tell = tell
        self._owed: set[str] = set()
        self._thrown_out: dict[str, str] = {}
        self._troubles: Mapping[str, str] = {}      # of the last try to give back
        self._told: Mapping[str, str] = {}
        self._is_leaving = False
        self._busy = asyncio.Lock()         # what is under way at libvirt ends before the other direction begins
        self._look = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None
        if devices:
            hypervisor.subscribe(self._hear)

    def _hear(self, notice: Notice) -> None:
        if not isinstance(notice, DeviceGone) or notice.domain != self._domain:
            return
        self._look.set()
        name = next((each for each in self._devices if alias(f"{FUNCTION}{each}") == notice.alias), None)
        if name is not None and name not in self._owed:
            _logger.warning("function thrown out by the guest", name=name)
            self._thrown_out[name] = THROWN_OUT
            self._telling = asyncio.create_task(self._say(), name="functions thrown out")

    # --- out ---

    async def let_go(self, given_up: Callable[[], str]) -> None:
        """Returns when the guest has none of them. ``given_up`` says why nobody waits any longer, "" as long as
        somebody does. Raises NotReleased; :meth:`give_back` is due after whatever comes then."""
        if not self._devices:
            return
        self._is_leaving = True
        async with self._busy:
            await self._released(given_up)

    async def _released(self, given_up: Callable[[], str]) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        asked: set[str] = set()
        trouble = ""
        while True:
            self._look.clear()
            try:
                there = await self._there()
                self._owed |= there
            except NotRunning:
                raise
            except HypervisorError as error:
                there, trouble = frozenset(self._devices), str(error)      # not known: a look less
            step = release(there, asked, loop.time() - began, given_up=given_up(), trouble=trouble)
            if step.is_done:
                _logger.info("functions released", after_s=round(loop.time() - began, 3), names=sorted(self._owed))
                return
            if step.why:
                raise NotReleased(step.why)
            for name in step.ask:
                try:
                    await self._hypervisor.detach_device(self._domain, alias(f"{FUNCTION}{name}"))
                    asked.add(name)
                except HypervisorError as error:
                    trouble = str(error)            # asked again at the next look
                    _logger.info("function not asked for yet", name=name, error=trouble)
            await self._news(LOOK_S)

    # --- in ---

    def take_all(self) -> None:
        """The guest has come from another node, and gets this one's."""
        self._owed = set(self._devices)
        self.give_back()

    def give_back(self) -> None:
        """From now on the guest gets what it is owed, as soon as that can be."""
        self._is_leaving = False
        self._look.set()
        if self._owed and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._given_back(), name="functions")

    def close(self) -> None:
        """The guest is off, or away."""
        if self._task is not None:
            self._task.cancel()

    async def _given_back(self) -> None:
        failures = 0
        while self._owed and not self._is_leaving:
            self._look.clear()
            async with self._busy:
                if self._is_leaving:
                    return
                self._troubles = await self._given()
            failures = failures + 1 if self._troubles else 0
            await self._say()
            if self._owed:
                await self._news(pause_s(failures) if self._troubles else PATIENT_LOOK_S)

    async def _given(self) -> Mapping[str, str]:
        """One try; why those that are missing are. Nothing is said of a guest that is off: it needs none."""
        try:
            there = await self._there()
        except NotRunning:
            return {}
        except HypervisorError as error:
            return dict.fromkeys(sorted(self._owed), str(error))
        troubles = {}
        for name in to_give(self._owed, there):
            try:
                await self._hypervisor.attach_device(self._domain, self._devices[name])
            except HypervisorError as error:
                troubles[name] = str(error)
                _logger.warning("function not attached", name=name, error=str(error))
            else:
                self._owed.discard(name)
                _logger.info("function attached", name=name)
        return troubles

    # --- both ---

    async def _say(self) -> None:
        missing = {**self._thrown_out, **self._troubles}
        if missing != self._told:
            self._told = missing
            await self._tell(missing)

    async def _there(self) -> frozenset[str]:
        """Of our functions, those that the domain has. Raises HypervisorError; NotRunning when it is off, since the
        description of one that is off is of how it would be started."""
        state, reason = await self._hypervisor.state(self._domain)
        if state not in _ALIVE:
            raise NotRunning(f"the guest does not run: {state.value} {reason}".rstrip())
        found = words.device_names(await self._hypervisor.describe(self._domain))
        return frozenset(name for name in self._devices if f"{FUNCTION}{name}" in found)

    async def _news(self, timeout_s: float | None) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._look.wait()
