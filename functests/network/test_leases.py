"""What DHCP tells the guest, and the names that it finds with it."""

import secrets
from typing import Any

import pytest

from functests.libs import build, guestnet, patience, pods
from functests.libs.build import Manifest
from functests.libs.cluster import Cluster
from functests.libs.console import Console
from functests.libs.guestnet import addressed
from functests.libs.kube import Space
from functests.libs.nodes import Nodes

LEASE_S = 999 * 24 * 3600
# What udhcpc hands to its script, one variable per line; the lease itself is left alone.
_DUMP = r"""printf '#!/bin/sh\n[ $1 = bound ] && env > /tmp/lease\nexit 0\n' > /tmp/dump; chmod +x /tmp/dump"""
_ASK = "udhcpc -n -q -i eth0 -t 5 -T 2 -s {script} {options} > /dev/null 2>&1"


def _interface(manifest: Manifest, **changes: Any) -> Manifest:
    """The one interface of the VMI with these fields."""
    (interface,) = manifest["spec"]["domain"]["devices"]["interfaces"]
    return build.merged(manifest, {"spec": {"domain": {"devices": {"interfaces": [{**interface, **changes}]}}}})


def _lease(shell: Console) -> dict[str, str]:
    """The options of one more DHCP answer, by udhcpc's names; unknown ones are opt<number>, in hexadecimal digits."""
    shell.succeed(_DUMP)
    options = " ".join(f"-O {name}" for name in ("search", "mtu", "ntpsrv", "tftp", "bootfile", "224", "240", "254"))
    shell.succeed(_ASK.format(script="/tmp/dump", options=options))
    lines = shell.succeed("cat /tmp/lease").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def _change_mac(shell: Console, mac: str) -> None:
    """As somebody with root in the guest would; the DHCP client that runs is ended first."""
    shell.run("killall udhcpc")
    shell.succeed("ip addr flush dev eth0")
    shell.succeed(f"ip link set eth0 down && ip link set eth0 address {mac} && ip link set eth0 up")


@pytest.mark.case("NET-009")
@pytest.mark.case("NET-010")
@pytest.mark.case("NET-033")
@pytest.mark.case("NET-011")
def test_the_lease_tells_what_the_pod_and_the_person_say(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a VMI whose interface has a boot file, a TFTP server, NTP servers (one with a leading zero) and
        private DHCP options.
    Steps: dump a DHCP answer in the guest; read MTUs in pod and guest, ping with the largest packet and one byte more;
        change the guest's MAC and ask again.
    Expected: addresses, lease time, the pod's names and servers, all given options byte for byte; one MTU everywhere,
        the larger packet does not go in one piece; the new MAC gets the same address.
    """
    private = {224: "first", 240: "second & third", 254: "x" * 40}
    options = {
        "bootFileName": "pxelinux.0", "tftpServerName": "tftp.example",
        "ntpServers": ["127.0.0.1", "127.0.0.2", "0127.0.0.3"],
        "privateOptions": [{"option": number, "value": text} for number, text in private.items()],
    }  # fmt: skip
    vmi, shell = space.boot(_interface(build.kernel_boot_vmi(cluster, "vm"), dhcpOptions=options))
    addressed(shell)
    node, pod = nodes[vmi["status"]["nodeName"]], space.pod(vmi)
    qemu = node.qemu(pod["metadata"]["uid"]).pid
    resolv = [line.split() for line in node.run(f"cat /proc/{qemu}/root/etc/resolv.conf").splitlines() if line]
    servers = [words[1] for words in resolv if words[0] == "nameserver"]
    search = next(words[1:] for words in resolv if words[0] == "search")
    links = node.links(qemu)
    mtu = links["eth0"]["mtu"]

    lease = _lease(shell)
    told = {key: lease.get(key) for key in ("ip", "subnet", "router", "serverid", "lease", "hostname", "domain", "mtu")}
    assert told == {
        "ip": "10.0.2.2", "subnet": "255.255.255.0", "router": "10.0.2.1", "serverid": "10.0.2.1",
        "lease": str(LEASE_S), "hostname": "vm", "domain": search[0], "mtu": str(mtu),
    }  # fmt: skip
    assert lease["dns"].split() == servers
    assert lease["search"].split() == search
    assert (lease["bootfile"], lease["tftp"]) == ("pxelinux.0", "tftp.example")
    assert lease["ntpsrv"].split() == ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
    assert {number: bytes.fromhex(lease[f"opt{number}"]).decode() for number in private} == private
    written = shell.succeed("cat /etc/resolv.conf").splitlines()
    assert written == [f"search {' '.join(search)}", *(f"nameserver {server}" for server in servers)]

    mtus = {name: links[name]["mtu"] for name in ("eth0", "k6t-eth0", "tap0")}
    mtus["guest"] = int(shell.succeed("cat /sys/class/net/eth0/mtu"))
    assert set(mtus.values()) == {mtu}, mtus
    before = guestnet.counter(shell, "Ip", "FragCreates")
    shell.succeed(f"ping -c 1 -W 5 -s {mtu - 28} 10.0.2.1")
    assert guestnet.counter(shell, "Ip", "FragCreates") == before
    shell.run(f"ping -c 1 -W 5 -s {mtu - 27} 10.0.2.1")
    assert guestnet.counter(shell, "Ip", "FragCreates") == before + 2, "a packet beyond the MTU went in one piece"

    _change_mac(shell, "02:aa:bb:cc:dd:ee")
    assert _lease(shell)["ip"] == "10.0.2.2"


@pytest.mark.parametrize(
    ("cidr", "guest", "gateway", "own_names"),
    [("10.10.010.0/24", "10.10.10.2/24", "10.10.10.1", True),
     ("192.168.66.64/30", "192.168.66.66/30", "192.168.66.65", False)],
    ids=["leading-zero", "smallest"],
)  # fmt: skip
@pytest.mark.case("NET-007")
@pytest.mark.case("NET-012")
@pytest.mark.case("NET-027")
def test_a_guest_in_a_network_of_its_own_choice(
    space: Space, cluster: Cluster, cidr: str, guest: str, gateway: str, own_names: bool
) -> None:
    """
    Preconditions: an echo pod; a VMI with its own network, one of them with own name servers (dnsPolicy None), a
        subdomain without a Service, and a MAC in capitals with dashes.
    Steps: boot; read address, MAC and resolv.conf in the guest; ping the gateway; dial the echo pod.
    Expected: the second host's address, the first is the gateway and answers; the pod answers; exactly the given
        servers and search domain; the MAC in plain form in guest and status.
    """
    server = pods.start(space, pods.python_pod(cluster, "echo", pods.ECHO_SERVER, "7000"))
    manifest = build.merged(
        build.kernel_boot_vmi(cluster, "vm"),
        {"spec": {"networks": [{"name": "default", "pod": {"vmNetworkCIDR": cidr}}]}},
    )
    if own_names:
        names = {"nameservers": ["8.8.8.8", "01.1.1.1"], "searches": ["example.com"]}
        manifest = build.merged(
            manifest, {"spec": {"dnsPolicy": "None", "dnsConfig": names, "subdomain": "nobody", "hostname": "vm"}})
        manifest = _interface(manifest, macAddress="DE-AD-00-00-BE-02")
    _, shell = space.boot(manifest)
    addressed(shell)
    assert f"inet {guest} " in shell.succeed("ip -4 -o addr show dev eth0")
    assert f"default via {gateway} " in shell.succeed("ip -4 route show default") + " "
    shell.succeed(f"ping -c 1 -W 5 {gateway}")
    nonce = secrets.token_hex(8)
    assert nonce in shell.succeed(f"echo {nonce} | nc -w 5 {server['status']['podIP']} 7000")
    if own_names:
        written = shell.succeed("cat /etc/resolv.conf").splitlines()
        assert written == ["search example.com", "nameserver 8.8.8.8", "nameserver 1.1.1.1"]
        assert shell.succeed("cat /sys/class/net/eth0/address") == "de:ad:00:00:be:02"
        assert guestnet.interface(space, "vm")["mac"] == "de:ad:00:00:be:02"


@pytest.mark.demand(vcpus=2, memory_mib=800, boots=2)
@pytest.mark.case("NET-013")
@pytest.mark.case("NET-012")
def test_guests_find_each_other_by_name(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a VMI with hostname and subdomain, a headless Service of the subdomain's name; a second VMI without.
    Steps: ask for the full name in both guests; make another Service after the boot and ask for it.
    Expected: the first knows its full name; it gives the first one's address in the second; the second has its VMI's
        name; the late Service resolves within 5 s.
    """
    first = build.merged(
        build.kernel_boot_vmi(cluster, "first"),
        {"metadata": {"labels": {"app": "named"}}, "spec": {"hostname": "h", "subdomain": "s"}},
    )
    services = f"/api/v1/namespaces/{space.name}/services"
    headless = {"clusterIP": "None", "selector": {"app": "named"}, "ports": [{"port": 80}]}
    space.rest.post(services, {"metadata": {"name": "s"}, "spec": headless}).ok()
    space.create(build.kernel_boot_vmi(cluster, "second"))
    _, shell = space.boot(first)
    addressed(shell)
    space.wait_running("second")
    other = space.shell("second")
    addressed(other)
    space.wait_condition("first", "Ready", "True")
    full = f"h.s.{space.name}.svc.cluster.local"
    assert shell.succeed("cat /etc/resolv.conf").split()[:2] == ["search", f"s.{space.name}.svc.cluster.local"]
    assert (shell.succeed("hostname"), other.succeed("hostname")) == ("h", "second")
    patience.eventually(
        "the first guest knows its full name", lambda: shell.run("hostname -f").out.strip(), lambda said: said == full,
        within_s=patience.promised(40),                    # CoreDNS keeps an answer for a while, "no such name" too
    )  # fmt: skip
    address = guestnet.address(space, "first")
    found = patience.eventually(
        "the second guest finds the first", lambda: other.run(f"nslookup -type=a {full}").out,
        lambda said: address in said, within_s=patience.promised(40),
    )  # fmt: skip
    assert found.count("Address") == 2, found           # the server's, and one answer

    late = space.rest.post(services, {"metadata": {"name": "late"}, "spec": {"ports": [{"port": 80}]}}).ok()
    patience.eventually(
        "a Service made after the boot resolves",
        lambda: other.run(f"nslookup -type=a late.{space.name}.svc.cluster.local").out,
        lambda said: late["spec"]["clusterIP"] in said, within_s=patience.promised(40),     # as above
    )  # fmt: skip
