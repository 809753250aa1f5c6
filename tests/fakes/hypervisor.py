"""A hypervisor of thin air: states change as libvirt's do, guests obey at once."""

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

from virt.launcher.libvirt_conn import (
    AgentChanged,
    DeviceGone,
    InvalidDomain,
    JobProgress,
    Lifecycle,
    MigrationFailed,
    MigrationRequest,
    NoAgent,
    NoDevice,
    Notice,
    NotRunning,
    Resumed,
)
from virt.rpc.messages import DomainState

PPM = b"P6\n2 1\n255\n" + bytes(6)


class FakeHypervisor:
    """``obeys_power_button`` False: a guest that ignores it. ``agent``: answers by command, None for no agent.
    ``silence``: raised instead of a state. ``holds_devices``: a guest that does not let go of them."""

    def __init__(self) -> None:
        self.states: dict[str, tuple[DomainState, str]] = {}
        self.xml: dict[str, str] = {}
        self.calls: list[str] = []
        self.obeys_power_button = True
        self.refusal: Exception | None = None
        self.silence: Exception | None = None
        self.holds_devices = False
        self.held: list[str] = []               # aliases of devices that it was asked for
        self.agent: dict[str, Any] | None = None
        self.migrations: list[MigrationRequest] = []
        self.job: JobProgress | None = None
        self.max_downtime_ms = 0
        self.vcpus: dict[str, int] = {}         # by domain: how many it was given
        self.places: list[tuple[str, str]] = []
        self.refusals: dict[str, list[Exception]] = {}      # by call: raised one after the other
        self._departure: asyncio.Future[None] | None = None
        self._listeners: list[Callable[[Notice], None]] = []

    def subscribe(self, listener: Callable[[Notice], None]) -> None:
        self._listeners.append(listener)

    def say(self, notice: Notice) -> None:
        for listener in self._listeners:
            listener(notice)

    def become(self, domain: str, state: DomainState, reason: str = "") -> None:
        self.states[domain] = (state, reason)
        self.say(Lifecycle(domain))

    def connect_agent(self, domain: str, answers: dict[str, Any]) -> None:
        self.agent = answers
        self.say(AgentChanged(domain, True))

    async def create(self, xml: str, *, paused: bool = False) -> str:
        self.calls.append("create")
        name = re.search(r"<name>([^<]+)</name>", xml)
        if self.refusal is not None or name is None:
            raise self.refusal or InvalidDomain("no name")
        self.xml[name[1]] = xml
        self.become(name[1], DomainState.PAUSED if paused else DomainState.RUNNING, "User" if paused else "")
        return name[1]

    async def placed(self, xml: str) -> str:
        """As it is, with the addresses in :attr:`places`: pairs of what is replaced."""
        self.calls.append("placed")
        if self.refusal is not None or "<name>" not in xml:
            raise self.refusal or InvalidDomain("no name")
        for old, new in self.places:
            xml = xml.replace(old, new)
        return xml

    async def state(self, domain: str) -> tuple[DomainState, str]:
        if self.silence is not None:
            self.calls.append("state")
            raise self.silence
        return self.states.get(domain, (DomainState.NONE, ""))

    async def describe(self, domain: str) -> str:
        if domain not in self.xml:
            raise NotRunning(domain)
        return self.xml[domain]

    def _running(self, domain: str, call: str) -> None:
        self.calls.append(call)
        if self.refusals.get(call):
            raise self.refusals[call].pop(0)
        if self.states.get(domain, (DomainState.NONE, ""))[0] not in (DomainState.RUNNING, DomainState.PAUSED):
            raise NotRunning(domain)

    async def press_power_button(self, domain: str) -> None:
        self._running(domain, "press_power_button")
        if self.obeys_power_button:
            self.become(domain, DomainState.SHUTOFF, "Shutdown")

    async def destroy(self, domain: str) -> None:
        self.calls.append("destroy")
        if self.states.get(domain, (DomainState.NONE, ""))[0] in (DomainState.RUNNING, DomainState.PAUSED):
            self.become(domain, DomainState.SHUTOFF, "Destroyed")

    async def suspend(self, domain: str) -> None:
        self._running(domain, "suspend")
        if self.states[domain][0] is not DomainState.PAUSED:
            self.become(domain, DomainState.PAUSED, "Migration" if self._departure is not None else "User")

    async def resume(self, domain: str) -> None:
        self._running(domain, "resume")
        self.become(domain, DomainState.RUNNING)
        self.say(Resumed(domain))

    async def reset(self, domain: str) -> None:
        self._running(domain, "reset")

    async def reboot(self, domain: str, *, by_agent: bool) -> None:
        self._running(domain, "reboot by agent" if by_agent else "reboot")

    async def screenshot(self, domain: str) -> bytes:
        self._running(domain, "screenshot")
        if "<graphics" not in self.xml[domain]:
            raise NoDevice(domain)
        return PPM

    async def agent_command(self, domain: str, command: str, *, timeout_s: int) -> str:
        name = json.loads(command)["execute"]
        self._running(domain, name)
        if self.agent is None:
            raise NoAgent("no agent")
        return json.dumps({"return": self.agent.get(name, {})})

    async def set_guest_time(self, domain: str) -> None:
        self._running(domain, "set_guest_time")

    async def attach_device(self, domain: str, xml: str) -> None:
        self._running(domain, "attach")
        self.xml[domain] = self.xml[domain].replace("</devices>", f"{xml}</devices>")

    async def set_vcpus(self, domain: str, count: int) -> None:
        self._running(domain, f"vcpus {count}")
        self.vcpus[domain] = max(count, self.vcpus.get(domain, 1))

    async def detach_device(self, domain: str, alias: str) -> None:
        self._running(domain, f"detach {alias}")
        if f"<alias name='{alias}'/>" not in self.xml[domain].replace('"', "'"):
            raise NoDevice(f"no device found with alias '{alias}'")
        self.held.append(alias)
        if not self.holds_devices:
            self.let_go(domain)

    def let_go(self, domain: str) -> None:
        """The guest gives the devices that it was asked for."""
        held, self.held = self.held, []
        for alias in held:
            self.xml[domain] = re.sub(
                rf"<(hostdev|disk)\b(?:(?!</\1>).)*<alias name=['\"]{alias}['\"]/>.*?</\1>", "", self.xml[domain],
                flags=re.DOTALL)
            self.say(DeviceGone(domain, alias))

    async def migrate(self, domain: str, request: MigrationRequest) -> None:
        self._running(domain, "migrate")
        self.migrations.append(request)
        self._departure = asyncio.get_running_loop().create_future()
        ran = self.states[domain][0] is DomainState.RUNNING
        try:
            await self._departure
        except MigrationFailed:
            if ran and self.states[domain] == (DomainState.PAUSED, "Migration"):
                self.become(domain, DomainState.RUNNING)        # whoever had paused it
            raise
        finally:
            self.job, self._departure = None, None
        self.become(domain, DomainState.SHUTOFF, "Migrated")

    def depart(self, error: str = "") -> None:
        """The migration under way ends, well or with ``error``."""
        assert self._departure is not None
        if error:
            self._departure.set_exception(MigrationFailed(error))
        else:
            self._departure.set_result(None)

    async def progress(self, domain: str) -> JobProgress | None:
        return self.job

    async def set_max_downtime(self, domain: str, milliseconds: int) -> None:
        self._running(domain, "set_max_downtime")
        self.max_downtime_ms = milliseconds

    async def start_post_copy(self, domain: str) -> None:
        self._running(domain, "post-copy")
        self.become(domain, DomainState.PAUSED, "Postcopy")

    async def abort_migration(self, domain: str) -> None:
        self.calls.append("abort")
        if self._departure is None or self._departure.done():
            raise NotRunning("no job is active on the domain")
        self.depart("operation aborted: migration out job: canceled by client")

    async def close(self) -> None:
        self._listeners.clear()
