"""The pod's network as it is, as the VMI wants it, and what to make of it. Frozen values, no behaviour.

Addresses are text: "10.0.2.2" alone or "10.0.2.2/24" with a prefix, as the name or the docstring says.
"""

from dataclasses import dataclass
from enum import StrEnum

import msgspec

from virt.base.errors import VirtError
from virt.rpc.messages import DhcpLease


class NetworkPlanError(VirtError):
    """The VMI asks for an impossible network; retrying will not help."""

    reference = "network-plan"
    hint = "Correct the interface or network in the VM's template and start it again."


class PodRoute(msgspec.Struct, frozen=True):
    """A route of the pod. ``destination`` is a CIDR ("0.0.0.0/0" for the default), ``gateway`` "" when on the link."""

    destination: str
    gateway: str = ""


class PodLink(msgspec.Struct, frozen=True, kw_only=True):
    """A network card of the pod as the CNI plugin made it. ``addresses`` are global ones with their prefix."""

    name: str
    mac: str
    mtu: int
    addresses: tuple[str, ...] = ()
    routes: tuple[PodRoute, ...] = ()


class Binding(StrEnum):
    MASQUERADE = "masquerade"
    BRIDGE = "bridge"


@dataclass(frozen=True)
class PortRange:
    """Ports ``first`` to ``last`` of "tcp" or "udp", both ends included."""

    protocol: str
    first: int
    last: int


@dataclass(frozen=True)
class DhcpExtras:
    """The DHCP options that a person may give for an interface, and the subdomain of the VMI."""

    boot_file: str = ""
    tftp_server: str = ""
    ntp_servers: tuple[str, ...] = ()
    private_options: tuple[tuple[int, str], ...] = ()
    subdomain: str = ""


@dataclass(frozen=True)
class GuestNic:
    """An interface of the VMI's spec. ``network`` is "" for the pod network, else the multus network's name in the
    spec; ``definition`` is then namespace and name of what describes it ("red/fast").

    ``cidr`` and ``cidr6`` are the guest's networks under masquerade, "" for the default. ``mac`` "" takes the pod
    link's. ``queues`` is the number of queue pairs.
    """

    name: str
    binding: Binding
    network: str = ""
    definition: str = ""
    mac: str = ""
    ports: tuple[PortRange, ...] = ()
    cidr: str = ""
    cidr6: str = ""
    queues: int = 1
    dhcp: DhcpExtras = DhcpExtras()


@dataclass(frozen=True)
class RenamedLink:
    """Bridge binding: the pod's card becomes a port of the bridge, and a placeholder keeps its name for the pod."""

    name: str
    mac: str
    placeholder: str
    placeholder_mac: str
    placeholder_addresses: tuple[str, ...]


@dataclass(frozen=True)
class Wiring:
    """Everything to make for one interface. ``addresses`` (with prefix) go on the bridge; ``ruleset`` is nft's input.

    ``forwards`` asks for routing between the card and the bridge (masquerade).
    """

    nic: str
    pod_link: str
    bridge: str
    bridge_mac: str
    addresses: tuple[str, ...]
    tap: str
    queues: int
    mtu: int
    guest_mac: str
    renamed: RenamedLink | None = None
    ruleset: str = ""
    forwards: bool = False
    lease: DhcpLease | None = None


NO_MAC = "00:00:00:00:00:00"
LINK_STATES = ("auto", "enable", "disable")     # IFLA_VF_LINK_STATE_AUTO, _ENABLE, _DISABLE


@dataclass(frozen=True, kw_only=True)
class FunctionState:
    """How a network card treats one of its virtual functions; the defaults are those of one that nobody has.

    ``mac`` NO_MAC: its driver chooses one. ``vlan`` 0: none. ``trusted``: it may change its MAC and be promiscuous.
    """

    mac: str = NO_MAC
    vlan: int = 0
    qos: int = 0
    spoof_check: bool = True
    trusted: bool = False
    link_state: str = "auto"


NEUTRAL = FunctionState()
