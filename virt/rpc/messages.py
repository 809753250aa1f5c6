"""What virt-handler and virt-launcher say to each other.

The launcher dials the handler's unix socket (mounted by the device plugin's Allocate answer) and says hello; from then
on the handler sends requests, the launcher answers each and pushes events. Either side may be restarted: the launcher
dials again, and the first event after hello tells the whole state, so nothing has to be remembered.

All messages are msgspec structs, tagged by their class name, as MessagePack. File descriptors travel beside a message
(SCM_RIGHTS); the docstring of a message says which and in what order.
"""

import enum

import msgspec


class Message(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Base of all messages; the wire form carries the class name under "type"."""


# --- what the handler prepares for the launcher ---


class DhcpLease(msgspec.Struct, frozen=True, kw_only=True):
    """What the launcher's DHCP server answers on one interface. Addresses are text; ``address`` has no prefix.

    ``any_mac``: whatever MAC the guest gave its card; else only the card's own gets an answer. ``subdomain``: that of
    the VMI, from which the launcher makes the first search domain.
    """

    address: str
    prefix_length: int
    gateway: str
    server: str
    mtu: int
    hostname: str
    routes: tuple[tuple[str, str], ...] = ()      # (destination CIDR, gateway), DHCP option 121
    dns_servers: tuple[str, ...] = ()
    search_domains: tuple[str, ...] = ()
    ntp_servers: tuple[str, ...] = ()
    boot_file: str = ""
    tftp_server: str = ""
    private_options: tuple[tuple[int, str], ...] = ()
    any_mac: bool = False
    subdomain: str = ""


class WiredInterface(msgspec.Struct, frozen=True, kw_only=True):
    """One interface of the VMI after the handler wired it. ``lease`` None: nobody answers DHCP on it."""

    name: str
    tap: str
    mac: str
    mtu: int
    lease: DhcpLease | None = None


class GivenFunction(msgspec.Struct, frozen=True, kw_only=True):
    """The virtual function of a network card that an SR-IOV interface gets, set up by the handler. ``address``: of PCI
    ("0000:01:10.0")."""

    name: str
    address: str
    mac: str


class HostFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the launcher cannot see for itself. ``kvm``: /dev/kvm is in the pod *and* guests are to use it."""

    kvm: bool
    cluster_cpu_model: str = ""
    smbios_manufacturer: str = "KubeVirt"
    smbios_family: str = "KubeVirt"
    smbios_product: str = "None"
    smbios_version: str = ""
    smbios_sku: str = ""
    balloon_stats_period_s: int = 10
    free_page_reporting: bool = True
    serial_log: bool = True


# --- requests: handler to launcher ---


class SyncVmi(Message, frozen=True, kw_only=True):
    """Make the domain what the VMI asks for: define and start it, or only report its state when it runs already.

    ``vmi`` is the VMI as JSON. File descriptors: for each interface with a lease, in order, one UDP socket bound to
    port 67 on that interface's bridge. Only the first SyncVmi of a launcher's life carries them.
    ``functions``: for the SR-IOV interfaces. Answer: :class:`DomainStatus`.
    """

    vmi: bytes
    interfaces: tuple[WiredInterface, ...]
    facts: HostFacts
    functions: tuple[GivenFunction, ...] = ()


class Shutdown(Message, frozen=True, kw_only=True):
    """Press the power button (ACPI), or signal the end when the guest has none. Answer: Done."""


class Destroy(Message, frozen=True, kw_only=True):
    """Kill the guest at once. Answer: Done, after the domain is off."""


class Pause(Message, frozen=True, kw_only=True):
    """Answer: Done."""


class Unpause(Message, frozen=True, kw_only=True):
    """Answer: Done. The guest clock is set from the host when an agent is connected."""


class Reset(Message, frozen=True, kw_only=True):
    """Answer: Done."""


class SoftReboot(Message, frozen=True, kw_only=True):
    """Reboot by the guest agent, else by ACPI. Answer: Done."""


class OpenSerial(Message, frozen=True, kw_only=True):
    """Answer: Done with one file descriptor, a connected stream socket to serial port 0."""


class OpenVnc(Message, frozen=True, kw_only=True):
    """Answer: Done with one file descriptor, a connected stream socket to the VNC server."""


class Screenshot(Message, frozen=True, kw_only=True):
    """Answer: Data holding a PNG."""


class GuestInfo(Message, frozen=True, kw_only=True):
    """Everything the guest agent tells. Answer: Data holding JSON of VirtualMachineInstanceGuestAgentInfo."""


class Freeze(Message, frozen=True, kw_only=True):
    """Freeze the guest's file systems; they thaw by themselves after ``timeout_s``. Answer: Done."""

    timeout_s: int


class Unfreeze(Message, frozen=True, kw_only=True):
    """Answer: Done."""


class SetVcpus(Message, frozen=True, kw_only=True):
    """Give the guest that many processors; one that has as many, or more, keeps them. Answer: DomainStatus."""

    count: int


class GiveVolumes(Message, frozen=True, kw_only=True):
    """Folders of hot-plugged claims, which the launcher keeps for its guest. File descriptors: one for each of
    ``volumes``, in order; one that it has already changes nothing. Answer: Done."""

    volumes: tuple[str, ...]


class SyncVolumes(Message, frozen=True, kw_only=True):
    """Make the guest that runs have just these of the volumes that were given: others leave it, and are let go of once
    they have. ``vmi`` and ``facts`` as of :class:`SyncVmi`. Answer: :class:`DomainStatus`."""

    vmi: bytes
    facts: HostFacts
    volumes: tuple[str, ...] = ()


# --- requests about a migration ---

LIBVIRT_PORT, MEMORY_PORT, DISK_PORT = 0, 49152, 49153      # what runs between the two launchers, as the API names it


class PrepareTarget(Message, frozen=True, kw_only=True):
    """Make everything ready for a guest that comes from another node: disks, DHCP, libvirt; start no domain.

    Fields and file descriptors as of :class:`SyncVmi`; ``functions`` go into the guest once it is here. Answer: Done.
    What becomes of the guest is told as events.
    """

    vmi: bytes
    interfaces: tuple[WiredInterface, ...]
    facts: HostFacts
    functions: tuple[GivenFunction, ...] = ()


class OpenMigrationPort(Message, frozen=True, kw_only=True):
    """Sent to a target. Answer: Done with one file descriptor, a stream socket connected to what listens there."""

    port: int


class MigrationLimits(msgspec.Struct, frozen=True, kw_only=True):
    """0 switches a limit off. ``timeout_per_gib_s``: for each GB of memory and disks to be copied; ``stuck_s``:
    without a new minimum of what is left to copy. ``may_pause``, ``may_post_copy``: what is done, rather than giving
    up, when that time is over."""

    bandwidth_mib_s: int = 0
    max_downtime_ms: int = 0
    timeout_per_gib_s: int = 0
    stuck_s: int = 0
    auto_converge: bool = False
    unsafe: bool = False
    may_pause: bool = False
    may_post_copy: bool = False


class Migrate(Message, frozen=True, kw_only=True):
    """Send the guest to the target that :class:`PrepareTarget` made ready. ``copied``: volumes that are not shared.

    Answer: Done with listening stream sockets, for the ports 0, 49152 and, with copied volumes, 49153. Whoever connects
    there is to be connected with the target's port. The migration has begun by then; its end is told in
    :attr:`DomainStatus.migration`.
    """

    uid: str
    copied: tuple[str, ...] = ()
    limits: MigrationLimits = MigrationLimits()


class CancelMigration(Message, frozen=True, kw_only=True):
    """Answer: Done, also when there is none. The guest stays here unless it has left already."""

    uid: str
    reason: str = ""


Request = (
    SyncVmi | Shutdown | Destroy | Pause | Unpause | Reset | SoftReboot | OpenSerial | OpenVnc | Screenshot | GuestInfo
    | Freeze | Unfreeze | SetVcpus | PrepareTarget | OpenMigrationPort | Migrate | CancelMigration
    | GiveVolumes | SyncVolumes
)


# --- answers and events: launcher to handler ---


class DomainState(enum.StrEnum):
    NONE = "NoState"          # not defined yet
    RUNNING = "Running"
    PAUSED = "Paused"
    SHUTDOWN = "Shutdown"     # the guest is shutting down
    SHUTOFF = "Shutoff"
    CRASHED = "Crashed"


class GuestInterface(msgspec.Struct, frozen=True, kw_only=True):
    """An interface as the guest agent sees it."""

    name: str
    mac: str
    ips: tuple[str, ...] = ()


class DiskTarget(msgspec.Struct, frozen=True, kw_only=True):
    """Which device name ("vda") a volume got and how large the guest sees it, in bytes (0: unknown).

    ``short_of``: what its claim had asked for, where its file was made smaller for lack of room.
    """

    volume: str
    target: str
    size: int = 0
    short_of: int = 0


class MigrationPhase(enum.StrEnum):
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"   # the guest has left
    FAILED = "Failed"         # it is still here
    ABORTED = "Aborted"       # failed because of CancelMigration, or of a limit


class MigrationReport(msgspec.Struct, frozen=True, kw_only=True):
    """The last migration away from here. ``reason`` says why it failed; sizes in bytes, memory and disks together.
    ``mode``: PreCopy, Paused (the guest stands still until it has left), PostCopy. ``is_stuck``: it was given up, the
    guest runs here, and only its connections are waited for."""

    uid: str
    phase: MigrationPhase
    reason: str = ""
    total: int = 0
    remaining: int = 0
    processed: int = 0
    dirty_rate: int = 0           # bytes of memory a second that the guest changes; transfer_rate: that are sent
    transfer_rate: int = 0
    mode: str = "PreCopy"
    is_stuck: bool = False


class DomainStatus(Message, frozen=True, kw_only=True):
    """The whole state of the domain.

    ``reason`` is libvirt's word for how the state came about: "User", "IOError", "Migration", "StartingUp",
    "Snapshot", "Postcopy", "PostcopyFailed" for Paused; "Shutdown", "Destroyed", "Crashed", "Migrated", "Saved",
    "Failed", "Unknown" for Shutoff; "Panicked" for Crashed.
    """

    state: DomainState
    reason: str = ""
    domain_name: str = ""
    machine: str = ""
    accelerator: str = ""                         # "kvm" or "tcg"
    disks: tuple[DiskTarget, ...] = ()
    agent_connected: bool = False
    agent_version: str = ""
    agent_commands: tuple[str, ...] = ()          # the enabled ones
    guest_os: dict[str, str] = msgspec.field(default_factory=dict)   # VirtualMachineInstanceGuestOSInfo, JSON names
    guest_interfaces: tuple[GuestInterface, ...] = ()
    frozen: bool = False
    migration: MigrationReport | None = None
    functions_missing: dict[str, str] = msgspec.field(default_factory=dict)      # SR-IOV interface: why it has no card
    given: tuple[str, ...] = ()                   # hot-plugged volumes whose claims the launcher has
    volumes_troubled: dict[str, str] = msgspec.field(default_factory=dict)       # of them: why it does not come, or go


class Done(Message, frozen=True, kw_only=True):
    """The request was carried out."""


class Data(Message, frozen=True, kw_only=True):
    """The request's answer as bytes; the request says in what form."""

    body: bytes


class Failed(Message, frozen=True, kw_only=True):
    """The request failed. ``code`` is a word a program can act on: "NotRunning", "NoAgent", "NoDevice", "AgentError",
    "Timeout", "InvalidSpec", "Internal"; ``message`` is for people and names the value."""

    code: str
    message: str


class Hello(Message, frozen=True, kw_only=True):
    """First message of a connection. ``pid`` is for logs only: the handler trusts nothing but SO_PEERCRED."""

    version: int
    pid: int


class DomainEvent(Message, frozen=True, kw_only=True):
    """The state changed (or: this is the state at the time of connection)."""

    status: DomainStatus


class GuestPanicked(Message, frozen=True, kw_only=True):
    """Once per panic, from the panic device."""


class GuestAgentSilent(Message, frozen=True, kw_only=True):
    """A probe pinged the guest's agent and got no answer in ``seconds``; once until it answers again."""

    seconds: int


class DiskError(Message, frozen=True, kw_only=True):
    """The guest was stopped by an I/O error on ``volume``."""

    volume: str
    reason: str


Event = Hello | DomainEvent | GuestPanicked | GuestAgentSilent | DiskError
Answer = DomainStatus | Done | Data | Failed
# 2: migration; 3: of guests with virtual functions too; 4: hot-plugged volumes, processors added
PROTOCOL_VERSION = 4
