"""The guest's name servers are its pod's."""

import msgspec

from virt.launcher.dhcp.resolver import with_names
from virt.rpc.messages import DhcpLease

LEASE = DhcpLease(address="10.0.2.2", prefix_length=24, gateway="10.0.2.1", server="10.0.2.1", mtu=1500, hostname="vm")


def test_servers_and_search_domains_are_the_pods() -> None:
    text = "search ns.svc.cluster.local svc.cluster.local\nnameserver 10.96.0.10\nnameserver fd00::a\n\noptions a\n"
    found = with_names(LEASE, text)
    assert found.dns_servers == ("10.96.0.10",)
    assert found.search_domains == ("ns.svc.cluster.local", "svc.cluster.local")


def test_what_the_lease_says_itself_wins() -> None:
    own = msgspec.structs.replace(LEASE, dns_servers=("1.2.3.4",), search_domains=("own",))
    assert with_names(own, "search other\nnameserver 10.96.0.10\n") == own


def test_an_empty_file_gives_nothing() -> None:
    assert with_names(LEASE, "") == LEASE
