"""The pod network behind masquerade: addresses, directions, names."""

import re
import secrets

import pytest

from functests.fixtures.warm import WarmVm
from functests.libs import build, guestnet, pods
from functests.libs.cluster import Cluster
from functests.libs.console import Console
from functests.libs.guestnet import addressed
from functests.libs.kube import Space, condition
from functests.libs.nodes import Nodes
from functests.libs.rest import VMI, kubevirt_path


@pytest.mark.case("NET-001")
def test_the_guest_is_behind_a_bridge_of_its_own(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: none.
    Steps: boot a VMI on the pod network.
    Expected: 10.0.2.2/24 with its gateway inside; bridge and tap in the pod; the pod keeps its address; status has it.
    """
    vmi, shell = space.boot(build.kernel_boot_vmi(cluster, "vm"))
    addressed(shell)
    assert "inet 10.0.2.2/24" in shell.succeed("ip -4 -o addr show dev eth0")
    assert "default via 10.0.2.1" in shell.succeed("ip route")
    shell.succeed("ping -c 1 -W 5 10.0.2.1")
    assert "02:00:00:00:00:00" in shell.succeed("ip neigh show 10.0.2.1")

    pod = space.pod(vmi)
    node = nodes[vmi["status"]["nodeName"]]
    links = node.links(node.qemu(pod["metadata"]["uid"]).pid)
    bridge = links["k6t-eth0"]
    assert ("10.0.2.1", 24) in [(entry["local"], entry["prefixlen"]) for entry in bridge["addr_info"]]
    tap = links["tap0"]
    assert tap["master"] == "k6t-eth0"
    info = tap["linkinfo"]["info_data"]
    assert (info.get("user"), info.get("group")) in [("107", "107"), (107, 107), ("qemu", "qemu")], info
    addresses = [entry["local"] for entry in links["eth0"]["addr_info"]]
    assert pod["status"]["podIP"] in addresses
    assert guestnet.address(space, "vm") == pod["status"]["podIP"]


@pytest.mark.needs("two-nodes")
@pytest.mark.demand(vcpus=2, memory_mib=800, boots=2, nodes=2)
@pytest.mark.case("NET-002")
def test_two_guests_on_two_nodes_talk(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: two VMIs on two workers, an echo server on port 8080 in each.
    Steps: exchange nonces both ways, ping, try a closed port.
    Expected: both nonces come back, 3 of 3 pings, and the closed port is refused, not silent.
    """
    shells: dict[str, Console] = {}
    addresses: dict[str, str] = {}
    for name, node in zip(("left", "right"), cluster.workers, strict=False):
        space.create(build.on_node(build.kernel_boot_vmi(cluster, name), node))
    for name in ("left", "right"):
        space.wait_running(name)
        shells[name] = space.shell(name, boots=2)
        addressed(shells[name])
        guestnet.serve(shells[name], 8080)
        addresses[name] = guestnet.address(space, name)
    for here, there in (("left", "right"), ("right", "left")):
        nonce = secrets.token_hex(8)
        assert shells[here].succeed(f"echo {nonce} | nc -w 30 {addresses[there]} 8080") == nonce
        assert "3 packets received" in shells[here].succeed(f"ping -c 3 -W 30 {addresses[there]}")
        closed = shells[here].run(f"nc -w 30 {addresses[there]} 8081 </dev/null 2>&1")
        assert closed.code != 0, "a closed port answered"
        assert "refused" in closed.out, f"a closed port says {closed.out!r}"


@pytest.mark.needs("two-nodes")
@pytest.mark.case("NET-003")
@pytest.mark.parametrize("where", ["same-node", "other-node"])
def test_clients_keep_their_address_on_the_way_in(space: Space, cluster: Cluster, where: str) -> None:
    """
    Preconditions: a VMI with an echo server on port 1500.
    Steps: a client pod on the same, and on the other node sends a nonce to the VMI's status address.
    Expected: the nonce comes back; the server saw the client pod's own address.
    """
    here, there = cluster.workers[:2]
    _, shell = space.boot(build.on_node(build.kernel_boot_vmi(cluster, "vm"), here))
    addressed(shell)
    guestnet.serve(shell, 1500)
    nonce = secrets.token_hex(8)
    node = here if where == "same-node" else there
    client = pods.ask(cluster, space, guestnet.address(space, "vm"), 1500, nonce, node=node)
    assert client["answer"] == nonce, client
    assert client["own"] in guestnet.peers(shell, 1500)


@pytest.mark.case("NET-004")
def test_the_guest_reaches_the_cluster_as_its_pod(warm_vm: WarmVm, cluster: Cluster) -> None:
    """
    Preconditions: a running VMI and an echo pod.
    Steps: the guest resolves the API server's name and asks it for /version; then it dials the echo pod.
    Expected: an HTTP answer, 200, 401 or 403; the echo pod saw the VMI's pod address, never 10.0.2.2.
    """
    space, vmi, shell = warm_vm.space, warm_vm.vmi, warm_vm.shell
    server = pods.start(space, pods.python_pod(cluster, "echo", pods.ECHO_SERVER, "7000"))
    pods.wait_log(space, "echo", "listening")
    addressed(shell)
    service = space.rest.get("/api/v1/namespaces/default/services/kubernetes").ok()["spec"]["clusterIP"]
    assert service in shell.succeed("nslookup kubernetes.default.svc.cluster.local")
    # An anonymous GET: its body, or wget's line with the status that refused it.
    asked = shell.run("wget -q -O - https://kubernetes.default.svc.cluster.local/version 2>&1")
    assert re.search(r'"gitVersion"|HTTP/1\.[01] 40[13]', asked.out), asked

    nonce = secrets.token_hex(8)
    assert nonce in shell.succeed(f"echo {nonce} | nc -w 30 {server['status']['podIP']} 7000")
    peers = pods.wait_log(space, "echo", f"peer {space.pod(vmi)['status']['podIP']}\n")
    assert "10.0.2.2" not in peers


@pytest.mark.demand(vcpus=2, memory_mib=800, boots=2)
@pytest.mark.case("NET-014")
def test_a_service_finds_guests_by_label(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a VMI with a label that a Service selects, and one without it.
    Steps: a pod asks by the Service's name, then by a name that does not exist.
    Expected: the right guest answers; the EndpointSlice has one address; the unknown name does not resolve.
    """
    chosen = build.merged(build.kernel_boot_vmi(cluster, "chosen"), {"metadata": {"labels": {"app": "yes"}}})
    vmi, shell = space.boot(chosen)
    space.create(build.kernel_boot_vmi(cluster, "other"))
    addressed(shell)
    nonce = secrets.token_hex(8)
    guestnet.serve(shell, 8080)
    spec = {"selector": {"app": "yes"}, "ports": [{"port": 80, "targetPort": 8080}]}
    space.rest.post(f"/api/v1/namespaces/{space.name}/services", {"metadata": {"name": "front"}, "spec": spec}).ok()
    space.wait_condition("chosen", "Ready", "True")
    space.wait_running("other")
    assert pods.ask(cluster, space, "front", 80, nonce, name="known")["answer"] == nonce
    slices = space.rest.get(
        f"/apis/discovery.k8s.io/v1/namespaces/{space.name}/endpointslices?labelSelector=kubernetes.io/service-name%3Dfront"
    ).ok()["items"]
    addresses = [address for item in slices for entry in item["endpoints"] for address in entry["addresses"]]
    assert addresses == [space.pod(vmi)["status"]["podIP"]]
    unknown = pods.ask(cluster, space, "nobody", 80, nonce, name="unknown", patience_s=1)
    assert unknown["answer"].startswith("error:"), unknown


@pytest.mark.case("NET-048")
def test_the_status_tells_the_one_interface(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a VMI whose guest runs no agent.
    Steps: read its status.
    Expected: one entry with the guest's MAC, the pod's addresses, infoSource domain, and no interfaceName; the IP
        column of kubectl shows it.
    """
    vmi, shell = space.boot(build.kernel_boot_vmi(cluster, "vm", kernel_args="tiny.agent=0"))
    entry = dict(guestnet.interface(space, "vm"))
    assert len(space.vmi("vm")["status"]["interfaces"]) == 1
    pod = space.pod(vmi)
    assert entry.pop("mac") == shell.succeed("cat /sys/class/net/eth0/address")
    assert entry == {
        "name": "default",
        "ipAddress": pod["status"]["podIP"],
        "ipAddresses": [address["ip"] for address in pod["status"]["podIPs"]],
        "infoSource": "domain",
        "queueCount": 1,
        "linkState": "up",
        "podInterfaceName": "eth0",
    }
    path = kubevirt_path(VMI, space.name, "vm")
    table = space.rest.request("GET", path, headers={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}).ok()
    column = [entry["name"] for entry in table["columnDefinitions"]].index("IP")
    assert table["rows"][0]["cells"][column] == pod["status"]["podIP"], table["rows"][0]["cells"]


@pytest.mark.needs("two-nodes")
@pytest.mark.case("NET-021")
def test_bridge_binding_gives_the_guest_the_pods_address(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a VMI whose interface on the pod network is a bridge.
    Steps: read addresses in guest, pod and API; a pod on the other node asks the guest.
    Expected: the guest has the pod's address; the pod's own interface is renamed and bare; not migratable; it answers.
    """
    here, there = cluster.workers[:2]
    manifest = build.merged(
        build.on_node(build.kernel_boot_vmi(cluster, "vm"), here),
        {"spec": {"domain": {"devices": {"interfaces": [{"name": "default", "bridge": {}}]}}}},
    )
    vmi, shell = space.boot(manifest)
    addressed(shell)
    pod = space.pod(vmi)
    assert f"inet {pod['status']['podIP']}/" in shell.succeed("ip -4 -o addr show dev eth0")
    node = nodes[here]
    pid = node.qemu(pod["metadata"]["uid"]).pid
    links = node.links(pid)
    assert links["eth0-nic"]["master"] == "k6t-eth0"
    assert not [entry for entry in links["eth0-nic"]["addr_info"] if entry["family"] == "inet"]
    assert links["eth0-nic"]["linkinfo"]["info_slave_data"]["learning"] is False
    assert pod["status"]["podIP"] in [entry["local"] for entry in links["eth0"]["addr_info"]]
    assert "UP" not in links["eth0"]["flags"]
    assert links["eth0"]["address"] == shell.succeed("cat /sys/class/net/eth0/address")
    assert node.run_in(pid, "cat /proc/sys/net/ipv4/conf/all/arp_ignore").strip() == "1"
    migratable = condition(space.wait_condition("vm", "LiveMigratable", "False"), "LiveMigratable")
    assert migratable["reason"] == "InterfaceNotLiveMigratable"

    guestnet.serve(shell, 8080)
    nonce = secrets.token_hex(8)
    assert pods.ask(cluster, space, pod["status"]["podIP"], 8080, nonce, node=there)["answer"] == nonce
