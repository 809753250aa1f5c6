"""The one guest of a launcher: its state, which follows the hypervisor's events, and how it is brought down.

An event only means "look": a state that is reported was always read (level-triggered).
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from virt.base import log
from virt.launcher.alias import name_of
from virt.launcher.guest_agent import GuestAgent, GuestFacts, Poll
from virt.launcher.libvirt_conn import (
    AgentChanged,
    DeviceGone,
    DiskFailed,
    Hypervisor,
    HypervisorError,
    HypervisorLost,
    Notice,
    Panicked,
    words,
)
from virt.rpc.messages import (
    DiskError,
    DiskTarget,
    DomainEvent,
    DomainState,
    DomainStatus,
    Event,
    GuestPanicked,
    MigrationReport,
)

ENDED = (DomainState.SHUTOFF, DomainState.CRASHED)
POWER_BUTTON_EVERY_S = 5.0      # as often as KubeVirt presses it
LOOK_AGAIN_S = 1.0              # after libvirt did not tell the state
_CLEAN_ENDS = ("Shutdown", "Destroyed", "Migrated", "Saved", "FromSnapshot")
_logger = log.get("virt.launcher.guest")


class Guest:
    """Created once the domain runs. ``tell`` sends an event to the handler; False when none is connected."""

    def __init__(
        self, hypervisor: Hypervisor, status: DomainStatus, tell: Callable[[Event], Awaitable[bool]]
    ) -> None:
        self.hypervisor = hypervisor
        self.name = status.domain_name
        self.agent = GuestAgent(hypervisor, self.name)
        self.status = status
        self.ended = asyncio.Event()
        self.agent_came = asyncio.Event()
        self.over_was_heard = False
        self.tell = tell
        self.kept_paused = False            # by a person, while it migrates
        self._look = asyncio.Event()
        self._has_lost_device = False
        self._outgoing: list[Event] = []
        self._poll: asyncio.Task[None] | None = None
        self._thaw: asyncio.TimerHandle | None = None
        self._pressed_at = float("-inf")
        self._background: set[asyncio.Task[None]] = set()
        hypervisor.subscribe(self._hear)

    # --- what happens ---

    def _hear(self, notice: Notice) -> None:
        if notice.domain != self.name:
            return
        match notice:
            case AgentChanged(connected=connected):
                self._agent_is(connected=connected)
            case Panicked():
                self._outgoing.append(GuestPanicked())
            case DiskFailed(alias=alias, source=source, reason=reason):
                self._outgoing.append(DiskError(volume=name_of(alias) or source, reason=reason))
            case DeviceGone():
                self._has_lost_device = True
            case _:
                pass
        self._look.set()

    def look_again(self) -> None:
        self._look.set()

    async def watch(self) -> None:
        """Read the state after each event and report changes; returns when the guest is off."""
        while not self.ended.is_set():
            await self._look.wait()
            self._look.clear()
            try:
                await self.refresh()
                if self._has_lost_device and not self.ended.is_set():
                    self._has_lost_device = False
                    await self.see_disks()
            except HypervisorError as error:
                _logger.warning("state is not known", error=str(error))
                # Who does not look again never sees the guest's end. A lost connection is another matter: the next one
                # says for every domain that it is to be looked at.
                if not isinstance(error, HypervisorLost):
                    asyncio.get_running_loop().call_later(LOOK_AGAIN_S, self._look.set)
        self._stop_poll()

    async def refresh(self) -> DomainStatus:
        state, reason = await self.hypervisor.state(self.name)
        if state == DomainState.NONE and not self.ended.is_set():
            state, reason = DomainState.SHUTOFF, "Unknown"       # undefined by somebody from within the pod
        if self.kept_paused and (state, reason) == (DomainState.PAUSED, "Migration"):
            reason = "User"                 # libvirt gives the migration as the reason of every pause
        known = self.status if state not in ENDED else _without_agent(self.status)
        await self._become(msgspec.structs.replace(known, state=state, reason=reason))
        return self.status

    async def _become(self, status: DomainStatus) -> None:
        changed = status != self.status
        if status.state != self.status.state or status.reason != self.status.reason:
            _logger.info("guest", state=status.state.value, reason=status.reason)
        self.status = status
        while self._outgoing:
            await self.tell(self._outgoing.pop(0))
        if changed:
            # The newest one: another may have come while the others were told, and the last word counts.
            newest = self.status
            heard = await self.tell(DomainEvent(status=newest))
            self.over_was_heard = heard and newest.state in ENDED
        if status.state in ENDED:
            self.ended.set()

    @property
    def exit_code(self) -> int:
        """The launcher's exit status: 0 when the guest ended as somebody wanted it to."""
        return 0 if self.status.state == DomainState.SHUTOFF and self.status.reason in _CLEAN_ENDS else 1

    def keep_paused(self, is_kept: bool) -> None:
        self.kept_paused = is_kept
        self._look.set()

    async def learn_migration(self, report: MigrationReport) -> None:
        await self._become(msgspec.structs.replace(self.status, migration=report))

    async def learn_missing(self, functions: Mapping[str, str]) -> None:
        await self._become(msgspec.structs.replace(self.status, functions_missing=dict(functions)))

    async def see_disks(self, plugged: Sequence[DiskTarget] = ()) -> None:
        """Which disks the domain has now. ``plugged``: what is known of those that have just come."""
        targets = words.disk_targets(await self.hypervisor.describe(self.name))
        known = {disk.volume: disk for disk in (*self.status.disks, *plugged)}
        disks = tuple(
            msgspec.structs.replace(known.get(volume) or DiskTarget(volume=volume, target=target), target=target)
            for volume, target in targets.items())
        await self._become(msgspec.structs.replace(self.status, disks=disks))

    async def learn_volumes(self, given: Sequence[str], troubles: Mapping[str, str]) -> None:
        await self._become(
            msgspec.structs.replace(self.status, given=tuple(given), volumes_troubled=dict(troubles)))

    # --- the agent ---

    def agent_is_there(self) -> None:
        self._agent_is(connected=True)

    def _agent_is(self, *, connected: bool) -> None:
        self._stop_poll()
        self.status = msgspec.structs.replace(_without_agent(self.status), agent_connected=connected)
        self._spawn(self._say_again())
        if connected:
            self.agent_came.set()
            self._start_poll()
        else:
            self.agent_came.clear()

    def _start_poll(self) -> None:
        self._stop_poll()
        self._poll = asyncio.create_task(Poll(self.agent, self._learn).run(), name="guest agent poll")

    def _stop_poll(self) -> None:
        if self._poll is not None:
            self._poll.cancel()
            self._poll = None

    def _learn(self, facts: GuestFacts) -> None:
        known = self.status
        self.status = msgspec.structs.replace(
            known, agent_version=facts.version or known.agent_version, agent_commands=facts.commands,
            guest_os=dict(facts.os) or known.guest_os, guest_interfaces=facts.interfaces or known.guest_interfaces,
        )  # fmt: skip
        if self.status != known:
            self._spawn(self._say_again())

    async def _say_again(self) -> None:
        await self.tell(DomainEvent(status=self.status))

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def freeze(self, timeout_s: int) -> None:
        await self.agent.freeze()
        self._cancel_thaw()
        self._thaw = asyncio.get_running_loop().call_later(timeout_s, lambda: self._spawn(self._thaw_by_itself()))
        await self._become(msgspec.structs.replace(self.status, frozen=True))

    async def thaw(self) -> None:
        self._cancel_thaw()
        await self.agent.thaw()
        await self._become(msgspec.structs.replace(self.status, frozen=False))
        if self._poll is not None:
            self._start_poll()              # what was not to be learned meanwhile

    def _cancel_thaw(self) -> None:
        if self._thaw is not None:
            self._thaw.cancel()
            self._thaw = None

    async def _thaw_by_itself(self) -> None:
        try:
            await self.thaw()
        except HypervisorError as error:
            _logger.error("guest does not thaw", error=str(error))
            self._thaw = asyncio.get_running_loop().call_later(
                POWER_BUTTON_EVERY_S, lambda: self._spawn(self._thaw_by_itself())
            )

    # --- the end ---

    async def press_power_button(self) -> None:
        """At most every 5 s, whoever asks: handler and SIGTERM come together, the guest sees one press."""
        now = asyncio.get_running_loop().time()
        if now - self._pressed_at < POWER_BUTTON_EVERY_S * 0.9:
            return
        self._pressed_at = now
        _logger.info("power button")
        await self.hypervisor.press_power_button(self.name)

    async def destroy(self) -> None:
        await self.hypervisor.destroy(self.name)
        await self.refresh()

    async def bring_down(self, grace_s: float, *, by_button: bool = True) -> None:
        """Power button until the guest is off or ``grace_s`` have passed, then the end by force."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace_s
        while not self.ended.is_set() and (left := deadline - loop.time()) > 0:
            with contextlib.suppress(TimeoutError):
                # The press is limited too: it waits for QEMU's answer, and a stuck QEMU never gives one.
                async with asyncio.timeout(min(left, POWER_BUTTON_EVERY_S)):
                    try:
                        if by_button:
                            await self.press_power_button()
                    except HypervisorError as error:
                        _logger.warning("power button", error=str(error))
                    await self.ended.wait()
        if not self.ended.is_set():
            _logger.warning("guest is still up after its grace period", grace_s=grace_s)
            await self.destroy()


def _without_agent(status: DomainStatus) -> DomainStatus:
    """What an agent told is worth nothing once it is gone."""
    return msgspec.structs.replace(
        status, agent_connected=False, frozen=False,
        agent_version="", agent_commands=(), guest_os={}, guest_interfaces=(),
    )  # fmt: skip
