"""What is planned for a pod's network: addresses, names, routes and rules."""

import ipaddress
import re

import pytest

from virt.handler.net.addresses import guest_subnet
from virt.handler.net.model import Binding, DhcpExtras, GuestNic, NetworkPlanError, PodLink, PodRoute, PortRange, Wiring
from virt.handler.net.nftables import Masquerade, ruleset
from virt.handler.net.plan import classless_routes, is_point_to_point, plan, pod_link_name, wired

ETH0 = PodLink(
    name="eth0",
    mac="5a:fa:3c:fc:18:b1",
    mtu=1450,
    addresses=("10.244.1.5/24",),
    routes=(PodRoute("0.0.0.0/0", "10.244.1.1"), PodRoute("10.244.1.0/24")),
)


def planned(nic: GuestNic, link: PodLink = ETH0) -> Wiring:
    (wiring,) = plan([nic], {link.name: link}, "guest")
    return wiring


@pytest.mark.parametrize(
    ("cidr", "gateway", "guest"),
    [
        ("10.0.2.0/24", "10.0.2.1", "10.0.2.2"),
        ("10.10.010.0/24", "10.10.10.1", "10.10.10.2"),
        ("192.168.66.64/30", "192.168.66.65", "192.168.66.66"),
        ("fd10:0:2::/120", "fd10:0:2::1", "fd10:0:2::2"),
    ],
)
def test_guest_is_the_second_host_of_its_network(cidr: str, gateway: str, guest: str) -> None:
    subnet = guest_subnet(cidr)
    assert (subnet.gateway, subnet.guest) == (gateway, guest)


def test_network_without_room_for_two_hosts_is_refused() -> None:
    with pytest.raises(NetworkPlanError, match="VM CIDR subnet is too small"):
        guest_subnet("10.1.1.0/31")


def test_text_that_is_no_network_is_refused_with_the_text() -> None:
    with pytest.raises(NetworkPlanError, match=r"'10\.1\.1/24x'"):
        guest_subnet("10.1.1/24x")


def test_masquerade_uses_the_names_and_addresses_that_people_know() -> None:
    wiring = planned(GuestNic("default", Binding.MASQUERADE))
    assert (wiring.bridge, wiring.bridge_mac, wiring.tap) == ("k6t-eth0", "02:00:00:00:00:00", "tap0")
    assert wiring.addresses == ("10.0.2.1/24",)
    assert wiring.renamed is None
    lease = wired(wiring).lease
    assert lease is not None
    assert (lease.address, lease.prefix_length, lease.gateway, lease.server) == ("10.0.2.2", 24, "10.0.2.1", "10.0.2.1")
    assert (lease.mtu, lease.hostname, lease.routes) == (1450, "guest", ())


def test_guest_mac_is_the_given_one_in_plain_form_else_the_cards() -> None:
    assert planned(GuestNic("default", Binding.MASQUERADE, mac="DE-AD-00-00-BE-02")).guest_mac == "de:ad:00:00:be:02"
    assert planned(GuestNic("default", Binding.MASQUERADE)).guest_mac == ETH0.mac


def test_dhcp_options_reach_the_lease() -> None:
    extras = DhcpExtras("pxe.0", "tftp.example", ("127.0.0.1", "0127.0.0.3"), ((224, "own"),), "sub")
    lease = planned(GuestNic("default", Binding.MASQUERADE, dhcp=extras)).lease
    assert lease is not None
    assert (lease.boot_file, lease.tftp_server) == ("pxe.0", "tftp.example")
    assert (lease.ntp_servers, lease.private_options) == (("127.0.0.1", "127.0.0.3"), ((224, "own"),))
    assert lease.subdomain == "sub"


def test_a_guest_may_change_its_mac_behind_masquerade_only() -> None:
    leases = [planned(GuestNic("default", binding)).lease for binding in (Binding.MASQUERADE, Binding.BRIDGE)]
    assert [lease is not None and lease.any_mac for lease in leases] == [True, False]


def test_pod_without_ipv4_gets_no_ipv4_and_the_other_way_round() -> None:
    both = PodLink(name="eth0", mac=ETH0.mac, mtu=1500, addresses=("10.244.1.5/24", "fd00::5/64"))
    only6 = PodLink(name="eth0", mac=ETH0.mac, mtu=1500, addresses=("fd00::5/64",))
    nic = GuestNic("default", Binding.MASQUERADE)
    assert planned(nic, both).addresses == ("10.0.2.1/24", "fd10:0:2::1/120")
    assert planned(nic, only6).addresses == ("fd10:0:2::1/120",)
    assert planned(nic, only6).lease is None
    assert "ip6 nat" not in planned(nic).ruleset


def test_bridge_moves_the_pods_identity_into_the_guest() -> None:
    wiring = planned(GuestNic("default", Binding.BRIDGE))
    assert (wiring.bridge, wiring.tap, wiring.addresses) == ("k6t-eth0", "tap0", ("169.254.75.10/32",))
    assert wiring.guest_mac == ETH0.mac
    assert wiring.ruleset == ""
    renamed = wiring.renamed
    assert renamed is not None
    assert (renamed.name, renamed.placeholder, renamed.placeholder_mac) == ("eth0-nic", "eth0", ETH0.mac)
    assert renamed.placeholder_addresses == ETH0.addresses
    assert renamed.mac == wiring.bridge_mac != ETH0.mac
    assert int(renamed.mac[:2], 16) & 0b11 == 0b10, "unicast and locally administered"
    lease = wiring.lease
    assert lease is not None
    assert (lease.address, lease.prefix_length, lease.gateway, lease.server) == (
        "10.244.1.5", 24, "10.244.1.1", "169.254.75.10",
    )
    assert lease.routes == ()


def test_bridge_without_a_pod_address_answers_no_dhcp() -> None:
    link = PodLink(name=pod_link_name("red"), mac=ETH0.mac, mtu=1500)
    wiring = planned(GuestNic("second", Binding.BRIDGE, network="red"), link)
    assert (wiring.lease, wiring.addresses) == (None, ())


def test_names_of_a_secondary_network_fit_the_kernel() -> None:
    link = PodLink(name=pod_link_name("red"), mac=ETH0.mac, mtu=1500)
    assert re.fullmatch("pod[0-9a-f]{11}", link.name)
    wiring = planned(GuestNic("second", Binding.BRIDGE, network="red"), link)
    assert wiring.renamed is not None
    digest = link.name[3:]
    assert (wiring.bridge, wiring.tap, wiring.renamed.name) == (f"k6t-{digest}", f"tap{digest}", f"{digest}-nic")
    assert all(len(name) <= 15 for name in (wiring.bridge, wiring.tap, wiring.renamed.name))


def test_missing_card_is_named() -> None:
    with pytest.raises(NetworkPlanError, match="no network card eth0 for interface 'default'"):
        plan([GuestNic("default", Binding.MASQUERADE)], {}, "guest")


ADDRESS = ipaddress.IPv4Interface("10.244.1.5/24")
DEFAULT = PodRoute("0.0.0.0/0", "10.244.1.1")
PTP = (DEFAULT, PodRoute("10.244.1.0/24", "10.244.1.1"), PodRoute("10.244.1.1/32"))


def test_point_to_point_is_seen_by_the_missing_subnet_route() -> None:
    assert is_point_to_point(ADDRESS, PTP)
    assert not is_point_to_point(ADDRESS, ETH0.routes)
    assert is_point_to_point(ipaddress.IPv4Interface("10.244.1.5/32"), ())


def test_point_to_point_guest_is_told_its_gateway_first_and_the_default_last() -> None:
    link = PodLink(name="eth0", mac=ETH0.mac, mtu=1500, addresses=("10.244.1.5/24",), routes=PTP)
    lease = planned(GuestNic("default", Binding.BRIDGE), link).lease
    assert lease is not None
    assert lease.prefix_length == 32
    assert lease.routes == (("10.244.1.1/32", "0.0.0.0"), ("0.0.0.0/0", "10.244.1.1"))


def test_further_routes_bring_the_default_with_them() -> None:
    routes = (*ETH0.routes, PodRoute("172.20.0.0/16", "10.244.1.7"), PodRoute("192.168.7.0/24"))
    assert classless_routes(ADDRESS, 24, routes) == (
        ("192.168.7.0/24", "0.0.0.0"), ("172.20.0.0/16", "10.244.1.7"), ("0.0.0.0/0", "10.244.1.1"),
    )


def rules(text: str, chain: str) -> list[str]:
    prefix = f"add rule ip nat {chain} "
    return [line.removeprefix(prefix) for line in text.splitlines() if line.startswith(prefix)]


def test_without_ports_everything_goes_to_the_guest() -> None:
    text = ruleset(Masquerade("eth0", "k6t-eth0", "10.0.2.1", "10.0.2.2"))
    assert rules(text, "KUBEVIRT_PREINBOUND") == ["counter dnat to 10.0.2.2"]
    assert rules(text, "KUBEVIRT_POSTINBOUND") == ["ip saddr 127.0.0.1 counter snat to 10.0.2.1"]
    assert rules(text, "output") == ["ip daddr 127.0.0.1 counter dnat to 10.0.2.2"]


def test_with_ports_only_those_go_to_the_guest() -> None:
    ports = (PortRange("tcp", 8080, 8080), PortRange("udp", 3000, 3010))
    text = ruleset(Masquerade("eth0", "k6t-eth0", "10.0.2.1", "10.0.2.2", ports))
    assert rules(text, "KUBEVIRT_PREINBOUND") == [
        "tcp dport 8080 counter dnat to 10.0.2.2", "udp dport 3000-3010 counter dnat to 10.0.2.2",
    ]
    assert all("dport" in rule for rule in rules(text, "output"))


def test_only_our_chains_are_emptied() -> None:
    text = ruleset(Masquerade("eth0", "k6t-eth0", "10.0.2.1", "10.0.2.2"))
    assert "flush table" not in text
    flushed = {line.split()[-1] for line in text.splitlines() if line.startswith("flush chain")}
    assert flushed == {
        "prerouting", "input", "output", "postrouting", "KUBEVIRT_PREINBOUND", "KUBEVIRT_POSTINBOUND",
    }
