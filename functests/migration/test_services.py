"""How clients find a guest that moves: services, names, ports that are let through, both families of addresses."""

import json
from collections.abc import Callable

import pytest

from functests.libs import build, guestnet, moves, patience, pods
from functests.libs.build import Manifest
from functests.libs.cluster import Cluster
from functests.libs.console import Console
from functests.libs.kube import Object, Space
from functests.libs.nodes import Nodes
from functests.libs.rest import core_path
from functests.libs.stack import is_ready
from functests.libs.stalls import STALLS

Policy = Callable[..., str]

pytestmark = [pytest.mark.needs("two-nodes"), pytest.mark.demand(memory_mib=500, nodes=2, seconds=45)]
PORT = 8080
GAP_S = 5.0
# Asks an echo server at argv[1]:argv[2] five times a second; a line for each try: when it began, what went wrong.
ASKER = """
import socket, sys, time
while True:
    began, wrong = time.time(), ""
    try:
        with socket.create_connection((sys.argv[1], int(sys.argv[2])), 5) as s:
            s.settimeout(5)
            s.sendall(b"nonce\\n")
            if s.makefile().readline().strip() != "nonce":
                wrong = "no answer"
    except OSError as error:
        wrong = type(error).__name__
    print(began, wrong, flush=True)
    time.sleep(max(0, began + 0.2 - time.time()))
"""
RESOLVER = """
import json, socket, sys
print(json.dumps(sorted({entry[4][0] for entry in socket.getaddrinfo(sys.argv[1], 80)})), flush=True)
"""


def _service(space: Space, name: str, **spec: object) -> Object:
    document = {"metadata": {"name": name}, "spec": {"selector": {"app": "web"}, "ports": [{"port": PORT}], **spec}}
    return space.rest.post(core_path("services", space.name), document).ok()


def _listed(space: Space, service: str, address: str) -> bool:
    """Whether the service sends clients to that address."""
    items = space.rest.get(
        f"/apis/discovery.k8s.io/v1/namespaces/{space.name}/endpointslices"
        f"?labelSelector=kubernetes.io/service-name%3D{service}").ok()["items"]
    return any(entry["conditions"].get("ready") and address in entry["addresses"]
               for item in items for entry in item["endpoints"] or [])


def _pod_address(space: Space, name: str) -> str:
    return str(space.rest.get(core_path("pods", space.name, name)).ok()["status"].get("podIP", ""))


@pytest.mark.case("MIG-025")
@pytest.mark.demand(memory_mib=600, nodes=2, seconds=60)
def test_clients_of_a_service_follow_the_guest(
    space: Space, cluster: Cluster, nodes: Nodes, policy: Policy
) -> None:
    """
    Preconditions: a guest with a server, a Service and a headless Service with its name; a client that asks five times
        a second; a slow policy.
    Steps: migrate; look at the endpoints all the time.
    Expected: the target's pod is an endpoint only once the guest is there; what the client missed lies in one block of
        5 s at most, around the switch; the guest's name leads to the new pod within 10 s.
    """
    policy(bandwidthPerMigration=moves.SLOW)
    front = _service(space, "front")["spec"]["clusterIP"]
    _service(space, "s", clusterIP="None")
    _, shell = space.boot(build.merged(build.kernel_boot_vmi(cluster, "vm"), {
        "metadata": {"labels": {"app": "web"}}, **build.spec_patch(hostname="h", subdomain="s")}))
    guestnet.addressed(shell)
    guestnet.serve(shell, PORT)
    before = moves.home(space, nodes, "vm")
    here = _pod_address(space, before.pod)
    patience.eventually("the guest is an endpoint", lambda: _listed(space, "front", here), bool)
    pods.start(space, pods.python_pod(cluster, "asker", ASKER, front, str(PORT)))
    patience.eventually(
        "the client is answered", lambda: _tries(space), lambda tries: any(not wrong for _, wrong in tries[-3:]))
    settled = len(_tries(space))
    STALLS.start()
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Running")
    there = _pod_address(space, moves.state(space.vmi("vm"))["targetPod"])

    def seen() -> tuple[bool, bool]:
        """Whether the target is an endpoint; whether, asked after that, the guest is there."""
        return _listed(space, "front", there), bool(moves.state(space.vmi("vm")).get("targetNodeDomainReadyTimestamp"))

    patience.eventually(
        "the target is an endpoint", seen, lambda found: found[0], stop=lambda found: found == (True, False),
        within_s=patience.boots(3), every_s=0.1)
    moves.reach(space, "move", "Succeeded")
    after = moves.check_moved(space, nodes, "vm", before, "move")
    target = space.rest.get(core_path("pods", space.name, after.pod)).ok()
    assert is_ready(target)
    count = len(_tries(space))
    tries = patience.eventually(
        "the client is answered", lambda: _tries(space),
        lambda tries: len(tries) >= count + 10 and not any(wrong for _, wrong in tries[-10:]),
        within_s=patience.promised(10))
    told = moves.state(space.vmi("vm"))
    failed = [when for when, wrong in tries[settled:] if wrong]
    if failed:
        gap = failed[-1] - failed[0]
        assert gap <= GAP_S + patience.boot_s() / 2 + STALLS.since(0), (gap, tries)
        assert failed[0] >= moves.seconds_between("1970-01-01T00:00:00Z", told["startTimestamp"]), (failed, told)
    pods.start(space, pods.python_pod(cluster, "resolver", RESOLVER, f"h.s.{space.name}.svc.cluster.local"))
    pods.wait_phase(space, "resolver", ("Succeeded", "Failed"))
    said = pods.log(space, "resolver")
    assert json.loads(said.strip().splitlines()[-1]) == [there], said


def _tries(space: Space) -> list[tuple[float, str]]:
    """When each try of the client began, and what went wrong."""
    lines = pods.log(space, "asker").splitlines()
    return [(float(when), wrong) for when, _, wrong in (line.partition(" ") for line in lines) if when]


def _interface(cluster: Cluster, **more: object) -> Manifest:
    interface = {"name": "default", "masquerade": {}, **more}
    return build.merged(build.kernel_boot_vmi(cluster, "vm"), build.devices_patch(interfaces=[interface]))


@pytest.mark.case("MIG-027")
def test_a_list_of_ports_goes_along(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a guest with a list of ports, TCP 80, and servers on 80 and 81.
    Steps: migrate; ask both from another pod.
    Expected: 80 answers and 81 is refused; the new pod's rules lead to one port.
    """
    _, shell = space.boot(_interface(cluster, ports=[{"name": "web", "port": 80}]))
    guestnet.addressed(shell)
    guestnet.serve(shell, 80, 81)
    before = moves.home(space, nodes, "vm")
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Succeeded")
    after = moves.check_moved(space, nodes, "vm", before, "move")
    address = _pod_address(space, after.pod)
    assert pods.ask(cluster, space, address, 80, "nonce", name="one")["answer"] == "nonce"
    refused = pods.ask(cluster, space, address, 81, "nonce", name="two", patience_s=1)["answer"]
    assert "refused" in refused, refused
    listed = nodes[after.node].run_in(after.qemu, "nft -j list chain ip nat KUBEVIRT_PREINBOUND")
    rules = [entry["rule"]["expr"] for entry in json.loads(listed)["nftables"] if "rule" in entry]
    matches = [part["match"]["right"] for rule in rules for part in rule
               if "match" in part and "payload" in part["match"]["left"]]
    assert matches == [80], rules
    assert len([rule for rule in rules if any("dnat" in part for part in rule)]) == 1, rules


@pytest.mark.case("MIG-027")
def test_a_link_that_is_down_stays_down(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a guest whose interface has state down.
    Steps: migrate.
    Expected: before and after the guest sees no carrier, and the VMI's status says down.
    """
    _, shell = space.boot(_interface(cluster, state="down"))
    before = moves.home(space, nodes, "vm")
    assert (_carrier(shell), _link_state(space)) == ("0", "down")
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Succeeded")
    moves.check_moved(space, nodes, "vm", before, "move")
    assert (_carrier(space.shell("vm")), _link_state(space)) == ("0", "down")


def _carrier(shell: Console) -> str:
    return shell.succeed("ip link set eth0 up && cat /sys/class/net/eth0/carrier")     # of one that is off: no answer


def _link_state(space: Space) -> str:
    """When the status tells one."""
    told = space.wait_vmi(
        "vm", lambda vmi: bool(vmi["status"]["interfaces"][0].get("linkState")), "tells the state of its link",
        within_s=patience.promised(10))
    return str(told["status"]["interfaces"][0]["linkState"])


# Sends an echo request to each address; prints those that answered.
PINGER = """
import json, socket, struct, sys
found = []
for address in sys.argv[1:]:
    six = ":" in address
    family, protocol, kind = (socket.AF_INET6, 58, 128) if six else (socket.AF_INET, 1, 8)
    with socket.socket(family, socket.SOCK_DGRAM, protocol) as s:
        s.settimeout(5)
        s.sendto(struct.pack(">BBHHH", kind, 0, 0, 0, 1) + b"nonce", (address, 0))
        try:
            if s.recv(100).endswith(b"nonce"):
                found.append(address)
        except OSError as error:
            print(address, type(error).__name__, flush=True)
print(json.dumps(found), flush=True)
"""


@pytest.mark.needs("two-nodes", "ipv6")
@pytest.mark.case("MIG-026")
def test_both_families_of_addresses_go_along(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a guest behind masquerade in a cluster with both families.
    Steps: migrate; ping both addresses from another pod.
    Expected: the guest has its addresses of before; the VMI has those of the new pod; both answer.
    """
    _, shell = space.boot(build.kernel_boot_vmi(cluster, "vm"))
    guestnet.addressed(shell)
    look = "ip -o addr show dev eth0 scope global | awk '{print $4}' | sort"
    known = patience.eventually(
        "the guest has both", lambda: shell.succeed(look).split(), lambda found: len(found) == 2)
    assert known == ["10.0.2.2/24", "fd10:0:2::2/120"], known
    before = moves.home(space, nodes, "vm")
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Succeeded")
    after = moves.check_moved(space, nodes, "vm", before, "move")
    pod = space.rest.get(core_path("pods", space.name, after.pod)).ok()
    addresses = [entry["ip"] for entry in pod["status"]["podIPs"]]
    assert len(addresses) == 2, addresses
    space.wait_vmi(
        "vm", lambda vmi: vmi["status"]["interfaces"][0].get("ipAddresses") == addresses,
        "the VMI has the addresses of its pod", within_s=patience.promised(10))
    assert space.shell("vm").succeed(look).split() == known
    pods.start(space, pods.python_pod(cluster, "pinger", PINGER, *addresses))
    pods.wait_phase(space, "pinger", ("Succeeded", "Failed"))
    said = pods.log(space, "pinger")
    assert json.loads(said.strip().splitlines()[-1]) == addresses, said
