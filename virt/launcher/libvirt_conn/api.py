"""What the launcher asks of a hypervisor, and what it hears from it.

Every method names its domain and raises a subclass of :class:`~virt.launcher.libvirt_conn.errors.HypervisorError`. None
blocks the event loop. Two implementations keep tests/contracts/test_hypervisor.py: libvirt and the fake.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from virt.rpc.messages import DomainState


@dataclass(frozen=True)
class Lifecycle:
    """The state changed; ask for it. Events may be late, so they carry no state of their own."""

    domain: str


@dataclass(frozen=True)
class Resumed:
    """The guest's processors were let run: after a pause, or here for the first time after a migration."""

    domain: str


@dataclass(frozen=True)
class AgentChanged:
    domain: str
    connected: bool


@dataclass(frozen=True)
class Panicked:
    domain: str


@dataclass(frozen=True)
class DiskFailed:
    """The guest was paused by an I/O error. ``alias`` is the device's ("ua-root"), ``source`` its file."""

    domain: str
    alias: str
    source: str
    reason: str


@dataclass(frozen=True)
class DeviceGone:
    """The guest has let go of a device, and the domain has lost it. ``alias``: "ua-sriov-fast"."""

    domain: str
    alias: str


@dataclass(frozen=True)
class MigrationRequest:
    """``libvirt``, ``memory`` and ``disks``: paths of unix sockets that lead to the target; QEMU listens at the last
    two there. ``copied``: names of disks ("vda") whose content goes along. ``bandwidth_mib_s`` 0: no limit.
    ``post_copy``: it may be asked for later."""

    libvirt: str
    memory: str
    disks: str
    copied: tuple[str, ...] = ()
    bandwidth_mib_s: int = 0
    auto_converge: bool = False
    unsafe: bool = False
    post_copy: bool = False


@dataclass(frozen=True)
class JobProgress:
    """Bytes of the job that runs, memory and disks together. Rates are bytes of memory a second: ``dirty_rate`` what
    the guest changes, ``transfer_rate`` what is sent. ``passes``: how often all memory was gone through."""

    total: int
    remaining: int
    processed: int = 0
    dirty_rate: int = 0
    transfer_rate: int = 0
    passes: int = 0


Notice = Lifecycle | Resumed | AgentChanged | Panicked | DiskFailed | DeviceGone


class Hypervisor(Protocol):
    def subscribe(self, listener: Callable[[Notice], None]) -> None:
        """Hear of everything from now on. The listener is called on the event loop and must not block."""
        ...

    async def create(self, xml: str, *, paused: bool = False) -> str:
        """Define the domain and start it; its name. Raises InvalidDomain, and then no domain is left defined."""
        ...

    async def placed(self, xml: str) -> str:
        """The domain's XML as it would be defined: each device has its address. Nothing stays defined.

        Raises InvalidDomain."""
        ...

    async def state(self, domain: str) -> tuple[DomainState, str]:
        """State and reason in the words of :class:`virt.rpc.messages.DomainStatus`; NONE: no such domain."""
        ...

    async def describe(self, domain: str) -> str:
        """The domain's XML as it runs."""
        ...

    async def press_power_button(self, domain: str) -> None:
        """By ACPI; whether the guest obeys is its own affair."""
        ...

    async def destroy(self, domain: str) -> None:
        """Returns when the guest is off; a domain that is off already is no error."""
        ...

    async def suspend(self, domain: str) -> None: ...

    async def resume(self, domain: str) -> None: ...

    async def reset(self, domain: str) -> None: ...

    async def reboot(self, domain: str, *, by_agent: bool) -> None: ...

    async def screenshot(self, domain: str) -> bytes:
        """A picture in the format that QEMU chooses: PNG or PPM. Raises NoDevice."""
        ...

    async def agent_command(self, domain: str, command: str, *, timeout_s: int) -> str:
        """Pass JSON to the guest agent, return its JSON answer. Raises NoAgent or AgentError."""
        ...

    async def set_guest_time(self, domain: str) -> None:
        """Set the guest's clock from the host's, by the agent."""
        ...

    async def attach_device(self, domain: str, xml: str) -> None:
        """Put a device into the guest that runs; its definition, for a later start, stays as it is. Raises NoDevice."""
        ...

    async def detach_device(self, domain: str, alias: str) -> None:
        """Ask the guest to let go of a device: :class:`DeviceGone` tells that it has, which may never be. Raises
        NoDevice for one that it has not."""
        ...

    async def set_vcpus(self, domain: str, count: int) -> None:
        """Plug processors until the guest has ``count``; never fewer than it has. Raises InvalidDomain."""
        ...

    async def migrate(self, domain: str, request: MigrationRequest) -> None:
        """Returns when the guest runs at the target. Raises MigrationFailed, and then it runs here."""
        ...

    async def progress(self, domain: str) -> JobProgress | None:
        """Progress of the migration under way; None when there is none, or none yet."""
        ...

    async def set_max_downtime(self, domain: str, milliseconds: int) -> None:
        """How long the guest may stand still when the migration under way switches over."""
        ...

    async def start_post_copy(self, domain: str) -> None:
        """The guest of the migration under way goes on at the target, with what memory is there."""
        ...

    async def abort_migration(self, domain: str) -> None:
        """Raises NotRunning when there is none."""
        ...

    async def close(self) -> None: ...
