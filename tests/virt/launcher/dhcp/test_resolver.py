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


def test_a_subdomain_is_searched_first_where_services_are_found() -> None:
    named = msgspec.structs.replace(LEASE, subdomain="web")
    found = with_names(named, "search ns.svc.cluster.local svc.cluster.local cluster.local\n")
    assert found.search_domains == (
        "web.ns.svc.cluster.local", "ns.svc.cluster.local", "svc.cluster.local", "cluster.local",
    )
    assert with_names(named, "search example.com\n").search_domains == ("example.com",)
    assert with_names(named, "search web.ns.svc.cluster.local\n").search_domains == ("web.ns.svc.cluster.local",)


def test_what_is_no_server_is_left_out() -> None:
    assert with_names(LEASE, "nameserver 1.1.1\nnameserver\nnameserver 1.1.1.1\n").dns_servers == ("1.1.1.1",)


def test_an_empty_file_gives_nothing() -> None:
    assert with_names(LEASE, "") == LEASE
