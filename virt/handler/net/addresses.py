"""Arithmetic of addresses: the guest's under masquerade, and MACs. Pure."""

import hashlib
import ipaddress
from dataclasses import dataclass

from virt.api.ipaddresses import plain
from virt.handler.net.model import NetworkPlanError

DEFAULT_CIDR = "10.0.2.0/24"
DEFAULT_CIDR6 = "fd10:0:2::/120"


@dataclass(frozen=True)
class GuestSubnet:
    """``gateway`` and ``guest`` are the first and second host, without prefix."""

    gateway: str
    guest: str
    prefix: int

    @property
    def gateway_with_prefix(self) -> str:
        return f"{self.gateway}/{self.prefix}"


def guest_subnet(cidr: str) -> GuestSubnet:
    """The gateway and the guest in ``cidr``: "10.0.2.0/24" gives 10.0.2.1 and 10.0.2.2.

    Numbers with leading zeros are decimal, as KubeVirt takes them ("10.10.010.0/24" is 10.10.10.0/24). Raises
    NetworkPlanError for text that is no network and for one without room for two hosts.
    """
    try:
        network = ipaddress.ip_network(plain(cidr), strict=False)
    except ValueError as error:
        raise NetworkPlanError(f"cannot read the VM network CIDR {cidr!r}: {error}") from error
    if network.num_addresses < 4:
        raise NetworkPlanError(f"VM CIDR subnet is too small: {cidr} has no room for a gateway and a guest")
    return GuestSubnet(str(network[1]), str(network[2]), network.prefixlen)


def plain_mac(mac: str) -> str:
    """As the kernel writes it.

    >>> plain_mac("02-00-00-AB-CD-EF")
    '02:00:00:ab:cd:ef'
    """
    return mac.replace("-", ":").lower()


def local_mac(seed: str) -> str:
    """A locally administered MAC that is always the same for the same ``seed``."""
    return ":".join(f"{byte:02x}" for byte in (0x02, *hashlib.sha256(seed.encode()).digest()[:5]))


def is_ipv4(address: str) -> bool:
    return ":" not in address
