"""Secondary networks: bridges of the nodes that guests are on beside the pod network."""

import secrets

import pytest

from functests.libs import build, claims, guest, guestnet, patience, segments
from functests.libs.build import Manifest
from functests.libs.claims import Claim
from functests.libs.cluster import Cluster
from functests.libs.console import Console, ConsoleRefused, open_socket
from functests.libs.kube import Object, Space, condition
from functests.libs.nodes import Node, Nodes
from functests.libs.rest import VMI, subresource_path
from functests.libs.segments import Segments

pytestmark = [pytest.mark.needs("two-nodes", "segments")]
_MACS = ("de:ad:00:00:be:01", "de:ad:00:00:be:02", "de:ad:00:00:be:03")
_FOREIGN = "02:aa:bb:cc:dd:ee"
# MAC and PCI address of each card, in the order of their names.
_CARDS = (
    "for n in 0 1 2; do d=/sys/class/net/eth$n; echo $(cat $d/address) $(basename $(readlink -f $d/device/..)); done"
)


def _guest(cluster: Cluster, name: str, node: str, *networks: str) -> Manifest:
    return segments.connected(build.on_node(build.kernel_boot_vmi(cluster, name), node), *networks)


def _inside(space: Space, nodes: Nodes, vmi: Object) -> tuple[Node, int]:
    """Where a guest's pod is: its node, and its QEMU's pid there."""
    node = nodes[vmi["status"]["nodeName"]]
    return node, node.qemu(space.pod(vmi)["metadata"]["uid"]).pid


@pytest.mark.demand(vcpus=3, memory_mib=1200, boots=3, pinned=3)
@pytest.mark.case("NET-029")
def test_guests_meet_in_their_own_network_only(
    layer2: Segments, space: Space, cluster: Cluster, nodes: Nodes
) -> None:
    """
    Preconditions: networks red and blue; on one node two guests in red and one in blue, with addresses of one range.
    Steps: send a nonce within red; ping from blue into red and from red into blue.
    Expected: the nonce comes back; nobody else answers, and no ARP request of red reaches the guest in blue.
    """
    for network in ("red", "blue"):
        layer2.define(space, network)
    shells: dict[str, Console] = {}
    where = {"a": "red", "b": "red", "c": "blue"}
    for name, network in where.items():
        space.create(_guest(cluster, name, cluster.workers[0], network))
    for number, name in enumerate(where, 1):
        space.wait_running(name)
        shells[name] = space.shell(name, boots=3)
        guestnet.join(shells[name], "eth1", f"10.1.1.{number}/24")
    outside = _inside(space, nodes, space.vmi("c"))
    segments.count(*outside, "arp saddr ip 10.1.1.0/24 arp saddr ip != 10.1.1.3")
    guestnet.serve(shells["b"], 8080)
    nonce = secrets.token_hex(8)
    assert shells["a"].succeed(f"echo {nonce} | nc -w 30 10.1.1.2 8080") == nonce
    assert guestnet.peers(shells["b"], 8080) == ["10.1.1.1"]
    found: list[Claim] = [
        ("answers to blue", [segments.answered(shells["c"], f"10.1.1.{n}", 2, within_s=3) for n in (1, 2)], [0, 0]),
        ("answers to red", segments.answered(shells["a"], "10.1.1.3", 2, within_s=3), 0),
        ("answers within red after that", segments.answered(shells["a"], "10.1.1.2", 2), 2),
        ("requests of red that blue heard", segments.counted(*outside), 0),
    ]
    assert claims.wrong(found) == ""


@pytest.mark.demand(vcpus=1, memory_mib=400, boots=2)
@pytest.mark.case("NET-031")
def test_cards_come_in_the_order_of_the_spec(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a VM on the pod network and in two networks whose bridges no node has, each card with a MAC.
    Steps: read cards in the guest, in the pod and in the status; restart; delete the VM.
    Expected: MACs in the order of the spec at rising PCI addresses, and the same ones after the restart; the status
        begins with the pod network and names links of the pod; the node had the bridges, and has them no longer.
    """
    bridges = [f"p{secrets.token_hex(4)}" for _ in range(2)]
    for name, bridge in zip(("red", "blue"), bridges, strict=True):
        segments.attachment(space, name, bridge)
    vmi = segments.connected(build.kernel_boot_vmi(cluster, "vm"), "red", "blue")
    for interface, mac in zip(vmi["spec"]["domain"]["devices"]["interfaces"], _MACS, strict=True):
        interface["macAddress"] = mac
    first, shell = space.boot(build.vm_of(vmi))
    cards = [line.split() for line in shell.succeed(_CARDS).splitlines()]
    node, qemu = _inside(space, nodes, first)
    links = node.links(qemu)
    status = space.wait_vmi("vm", lambda seen: len(seen["status"]["interfaces"]) == 3, "three interfaces")["status"]
    told = status["interfaces"]
    found: list[Claim] = [
        ("MACs in the guest", tuple(mac for mac, _ in cards), _MACS),
        ("PCI addresses rise", [where for _, where in cards], sorted({where for _, where in cards})),
        ("names in the status", [entry["name"] for entry in told], ["default", "red", "blue"]),
        ("MACs in the status", tuple(entry["mac"] for entry in told), _MACS),
        ("link of the pod network", told[0]["podInterfaceName"], "eth0"),
        ("links that the pod lacks", {entry["podInterfaceName"] for entry in told} - set(links), set()),
        ("source", [entry["infoSource"].startswith("domain") for entry in told], [True] * 3),
        ("LiveMigratable", condition(space.vmi("vm"), "LiveMigratable").get("status"), "True"),
        ("bridges of the node", [node.try_run(f"ip link show {bridge}")[0] for bridge in bridges], [0, 0]),
    ]  # fmt: skip
    assert claims.wrong(found) == ""

    assert space.act_on_vm("vm", "restart").code == 202
    second = space.wait_running("vm", not_uid=first["metadata"]["uid"])
    again = space.shell("vm", boots=2).succeed(_CARDS)
    assert [line.split() for line in again.splitlines()] == cards
    places = [nodes[name] for name in {node.name, second["status"]["nodeName"]}]
    space.delete_vm("vm").ok()
    patience.eventually(
        "the bridges are gone",
        lambda: [bridge for place in places for bridge in bridges if place.try_run(f"ip link show {bridge}")[0] == 0],
        lambda left: not left, within_s=patience.promised(60))


@pytest.mark.demand(vcpus=1, memory_mib=400, boots=1)
@pytest.mark.case("NET-032")
def test_a_guest_waits_for_its_network(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: none.
    Steps: create a VMI in a network that is not described; when it waits, describe it.
    Expected: Synchronized is False, FailedCreate, and names the definition; no pod; then it runs and has its card.
    """
    space.create(segments.connected(build.kernel_boot_vmi(cluster, "vm"), "missing"))
    vmi = space.wait_condition("vm", "Synchronized", "False")
    why = condition(vmi, "Synchronized")
    text = f"failed to locate network attachment definition {space.name}/missing"
    found: list[Claim] = [
        ("reason", why["reason"], "FailedCreate"),
        ("text", text in why["message"], True),
        ("pods", len(space.pods(vmi)), 0),
    ]
    assert claims.wrong(found) == ""
    segments.attachment(space, "missing", f"p{secrets.token_hex(4)}")
    space.wait_running("vm", within_s=patience.boots(2))
    space.shell("vm").succeed("ip link show eth1")
    assert condition(space.vmi("vm"), "Synchronized").get("status") != "False"


@pytest.mark.demand(vcpus=2, memory_mib=800, boots=2, nodes=2)
@pytest.mark.case("NET-033")
@pytest.mark.case("NET-034")
def test_a_network_has_its_mtu_and_knows_who_speaks(
    layer2: Segments, space: Space, cluster: Cluster, nodes: Nodes
) -> None:
    """
    Preconditions: two guests on two nodes, in a network with an MTU of its own in which MACs are checked.
    Steps: read MTUs in guest and pod; ping with the largest packet and one byte more; take another MAC, then the old.
    Expected: one MTU everywhere; the larger packet does not go in one piece; pings are answered with the guest's own
        MAC only, and no frame from the other one reaches the peer.
    """
    layer2.define(space, "red", mtu=1300, macspoofchk=True)
    for name, worker in zip(("a", "b"), cluster.workers, strict=False):
        space.create(_guest(cluster, name, worker, "red"))
    shells = {}
    for number, name in enumerate(("a", "b"), 1):
        space.wait_running(name)
        shells[name] = space.shell(name, boots=2)
        guestnet.join(shells[name], "eth1", f"10.1.1.{number}/24")
    shell = shells["a"]
    node, qemu = _inside(space, nodes, space.vmi("a"))
    link = space.vmi("a")["status"]["interfaces"][1]["podInterfaceName"]
    stem = link.removeprefix("pod")
    links = node.links(qemu)
    mtus = {name: links[name]["mtu"] for name in (f"{stem}-nic", f"k6t-{stem}", f"tap{stem}")}
    mtus["guest"] = int(shell.succeed("cat /sys/class/net/eth1/mtu"))
    assert set(mtus.values()) == {1300}, mtus
    before = guestnet.counter(shell, "Ip", "FragCreates")
    assert "2 packets received" in shell.succeed("ping -c 2 -W 30 -s 1272 10.1.1.2")
    whole = guestnet.counter(shell, "Ip", "FragCreates")
    shell.run("ping -c 1 -W 5 -s 1273 10.1.1.2")
    assert (whole, guestnet.counter(shell, "Ip", "FragCreates") > whole) == (before, True)

    peer = _inside(space, nodes, space.vmi("b"))
    segments.count(*peer, f"ether saddr {_FOREIGN}")
    own = shell.succeed("cat /sys/class/net/eth1/address")
    assert segments.answered(shell, "10.1.1.2") == 3
    _speak_as(shell, _FOREIGN)
    assert segments.answered(shell, "10.1.1.2", within_s=3) == 0, "a foreign MAC was let through"
    assert segments.counted(*peer) == 0, "frames of a foreign MAC reached the peer"
    _speak_as(shell, own)
    assert segments.answered(shell, "10.1.1.2") == 3


def _speak_as(shell: Console, mac: str) -> None:
    shell.succeed(f"ip link set eth1 down && ip link set eth1 address {mac} && ip link set eth1 up")


@pytest.mark.needs("agent")
@pytest.mark.demand(vcpus=1, memory_mib=400, boots=1)
@pytest.mark.case("PFW-006")
def test_no_port_is_forwarded_to_where_the_guest_says_it_is(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a VMI whose only network is a bridge's.
    Steps: forward to 443 and 8443; give its card the address of the API server's Service, wait until the status tells
        it; forward again.
    Expected: 400 each time, before any upgrade.
    """
    manifest = build.kernel_boot_vmi(cluster, "vm")
    manifest["spec"]["networks"], manifest["spec"]["domain"]["devices"]["interfaces"] = [], []
    segments.attachment(space, "red", f"p{secrets.token_hex(4)}")
    _, shell = space.boot(segments.connected(manifest, "red"))
    ports = (443, 8443)
    assert [_refusal(space, port) for port in ports] == [400, 400]
    service = space.rest.get("/api/v1/namespaces/default/services/kubernetes").ok()["spec"]["clusterIP"]
    guestnet.join(shell, "eth0", f"{service}/24")
    shell.succeed("agent stop; agent start")
    told = space.wait_vmi(
        "vm", lambda seen: service in seen["status"]["interfaces"][0].get("ipAddresses", []), "tells its address")
    assert told["status"]["interfaces"][0]["name"] == "red"
    assert [_refusal(space, port) for port in ports] == [400, 400]


def _refusal(space: Space, port: int) -> int:
    with pytest.raises(ConsoleRefused) as refused:
        open_socket(space.rest, subresource_path(VMI, space.name, "vm", f"portforward/{port}")).close()
    return refused.value.code


@pytest.mark.needs("agent")
@pytest.mark.demand(vcpus=1, memory_mib=400, boots=1)
@pytest.mark.case("NET-049")
def test_the_status_tells_of_interfaces_what_the_guest_tells(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a guest with an agent, on the pod network and in two others, each card with a MAC.
    Steps: make a veth pair with an address, change eth1's MAC, give eth2 an address; then eth2 a second one.
    Expected: the pod network keeps the pod's address and gets its name in the guest; links of the guest's own are there
        without a name of the spec; eth1 is there twice, by the spec's MAC and by its own; eth2 has both its addresses.
    """
    manifest = build.kernel_boot_vmi(cluster, "vm")
    for name in ("red", "blue"):
        segments.attachment(space, name, f"p{secrets.token_hex(4)}")
        segments.connected(manifest, name)
    for interface, mac in zip(manifest["spec"]["domain"]["devices"]["interfaces"], _MACS, strict=True):
        interface["macAddress"] = mac
    vmi, shell = space.boot(manifest)
    guestnet.addressed(shell)
    own = space.pod(vmi)["status"]["podIP"]
    guest.load(shell, "veth")
    for link in ("eth1", "eth2"):
        shell.succeed(guestnet.lease_given_up(link), within_s=patience.boots(1))

    def told_anew(what: str) -> dict[tuple[str, str], Object]:
        """The interfaces in the status by their name in the spec and in the guest, once the agent has told them."""
        shell.succeed("agent stop")
        space.wait_condition("vm", "AgentConnected", "")
        shell.succeed(f"{what}; agent start")
        space.wait_condition("vm", "AgentConnected", "True")
        seen = space.wait_vmi(
            "vm", lambda seen: any(not entry.get("name") for entry in seen["status"]["interfaces"]), "tells all")
        return {(each.get("name", ""), each.get("interfaceName", "")): each for each in seen["status"]["interfaces"]}

    told = told_anew(
        "ip link add v0 type veth peer name v1 && ip addr add 198.51.100.1/24 dev v0 && "
        f"ip link set eth1 down && ip link set eth1 address {_FOREIGN} && ip link set eth1 up && "
        "ip addr add 10.1.2.1/24 dev eth2")
    found: list[Claim] = [
        ("interfaces", set(told), {
            ("default", "eth0"), ("red", ""), ("blue", "eth2"), ("", "v0"), ("", "v1"), ("", "eth1")}),
        ("the pod network's address", told["default", "eth0"]["ipAddress"], own),
        ("who tells of it", told["default", "eth0"]["infoSource"], "domain, guest-agent"),
        ("who tells of eth1's MAC of the spec", (told["red", ""]["mac"], told["red", ""]["infoSource"]),
         (_MACS[1], "domain")),
        ("who tells of its other one", (told["", "eth1"]["mac"], told["", "eth1"]["infoSource"]),
         (_FOREIGN, "guest-agent")),
        ("address of the veth pair", "198.51.100.1" in told["", "v0"].get("ipAddresses", []), True),
        ("address of eth2", "10.1.2.1" in told["blue", "eth2"].get("ipAddresses", []), True),
    ]  # fmt: skip
    assert claims.wrong(found) == ""
    again = told_anew("ip addr add 10.1.2.9/24 dev eth2")["blue", "eth2"]
    assert {"10.1.2.1", "10.1.2.9"} <= set(again["ipAddresses"])
