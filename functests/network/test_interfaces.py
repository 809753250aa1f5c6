"""Interfaces as devices and as the status tells them: what is refused, none at all, queues, and what an agent adds."""

import secrets
from typing import Any

import pytest

from functests.libs import build, channels, guest, guestnet, patience
from functests.libs.build import Manifest
from functests.libs.cluster import Cluster
from functests.libs.console import ConsoleRefused, open_socket
from functests.libs.guestnet import addressed
from functests.libs.kube import Object, Space
from functests.libs.nodes import Nodes
from functests.libs.rest import VMI, subresource_path


def _with(manifest: Manifest, network: Manifest | None = None, **interface: Any) -> Manifest:
    devices = {"interfaces": [{"name": "default", **interface}]}
    spec: Manifest = {"domain": {"devices": devices}}
    if network is not None:
        spec["networks"] = [{"name": "default", **network}]
    return build.merged(manifest, {"spec": spec})


@pytest.mark.demand(vcpus=0, memory_mib=0, boots=0)
@pytest.mark.case("NET-058")
@pytest.mark.case("NET-008")
@pytest.mark.case("NET-027")
def test_faulty_networks_are_refused_with_a_reason(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a VMI that is admitted (the control).
    Steps: create it with two bindings, masquerade on an attachment, the MAC of the pod's bridge, a multicast MAC, state
        absent on the pod network, a network without room for a guest.
    Expected: 422 each, at its own field, with a text that says what is wrong; nothing is stored.
    """
    control = build.kernel_boot_vmi(cluster, "vm")
    assert space.try_create(control, dry_run=True).code == 201
    nic = "spec.domain.devices.interfaces[0]"
    mac = f"{nic}.macAddress"
    faults: dict[str, tuple[Manifest, str, str]] = {
        "two bindings": (_with(control, masquerade={}, bridge={}), nic, "exactly one binding method"),
        "masquerade on an attachment": (
            _with(control, {"multus": {"networkName": "red"}}, masquerade={}), f"{nic}.name",
            "only implemented with pod network",
        ),
        "the bridge's MAC": (
            _with(control, masquerade={}, macAddress="02:00:00:00:00:00"), mac, "reserved for the in-pod bridge"),
        "multicast": (_with(control, masquerade={}, macAddress="01:00:5e:00:00:01"), mac, "unicast"),
        "absent": (_with(control, bridge={}, state="absent"), f"{nic}.state", "not supported on default networks"),
        "no room": (
            _with(control, {"pod": {"vmNetworkCIDR": "10.1.1.0/31"}}, masquerade={}),
            "spec.networks[0].pod.vmNetworkCIDR", "VM CIDR subnet is too small",
        ),
    }  # fmt: skip
    wrong = []
    for what, (manifest, field, text) in faults.items():
        answer = space.try_create(manifest)
        said = [str(cause.get("message")) for cause in answer.causes if cause.get("field") == field]
        if answer.code != 422 or not any(text in message for message in said):
            wrong.append(f"{what}: {answer.code} {answer.text[:400]}")
    assert not wrong, "\n".join(wrong)
    assert space.get_vmi("vm") is None


@pytest.mark.case("NET-059")
def test_a_guest_without_any_interface(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: none.
    Steps: boot a VMI with autoattachPodInterface false and no interface.
    Expected: only loopback in the guest; neither tap nor bridge in the pod; no interface in the status, migratable;
        portforward is 400 "no network interfaces are present".
    """
    devices = {"autoattachPodInterface": False, "interfaces": None}
    vmi, shell = space.boot(build.merged(
        build.kernel_boot_vmi(cluster, "vm"), {"spec": {"networks": None, "domain": {"devices": devices}}}))
    assert shell.succeed("ls /sys/class/net").split() == ["lo"]
    node = nodes[vmi["status"]["nodeName"]]
    links = node.links(node.qemu(space.pod(vmi)["metadata"]["uid"]).pid)
    assert not [name for name in links if name.startswith(("tap", "k6t"))], sorted(links)
    space.wait_condition("vm", "LiveMigratable", "True")
    assert not space.vmi("vm")["status"].get("interfaces")
    with pytest.raises(ConsoleRefused) as refused:
        open_socket(space.rest, subresource_path(VMI, space.name, "vm", "portforward/22")).close()
    assert refused.value.code == 400, refused.value
    assert "no network interfaces are present" in refused.value.body


@pytest.mark.parametrize("many", [True, False], ids=["many", "one"])
@pytest.mark.demand(vcpus=2)
@pytest.mark.case("NET-045")
@pytest.mark.case("STO-032")
def test_queues_of_cards_and_disks(space: Space, cluster: Cluster, nodes: Nodes, many: bool) -> None:
    """
    Preconditions: a VMI of two vCPUs with a virtio card, a virtio and a SATA disk.
    Steps: boot it with and without networkInterfaceMultiqueue and blockMultiQueue.
    Expected: two queues of each in the guest, queueCount 2, two tap descriptors in QEMU; else one. The SATA disk is
        there either way. The network works.
    """
    count = 2 if many else 1
    manifest = build.with_disk(build.kernel_boot_vmi(cluster, "vm"), "fast", {"emptyDisk": {"capacity": "64Mi"}})
    manifest = build.with_disk(manifest, "slow", {"emptyDisk": {"capacity": "32Mi"}}, disk={"bus": "sata"})
    domain: Manifest = {"cpu": {"sockets": 2}}
    if many:
        domain["devices"] = {"networkInterfaceMultiqueue": True, "blockMultiQueue": True}
    vmi, shell = space.boot(build.merged(manifest, {"spec": {"domain": domain}}))
    addressed(shell)
    queues = shell.succeed("ls /sys/class/net/eth0/queues").split()
    assert sorted(queues) == sorted(f"{way}-{number}" for way in ("rx", "tx") for number in range(count)), queues
    assert shell.succeed("ls /sys/block/vda/mq").split() == [str(number) for number in range(count)]
    assert shell.succeed("blockdev --getsize64 /dev/sda") == str(32 << 20)
    assert guestnet.interface(space, "vm")["queueCount"] == count
    node = nodes[vmi["status"]["nodeName"]]
    qemu = node.qemu(space.pod(vmi)["metadata"]["uid"]).pid
    assert node.run(f"ls -l /proc/{qemu}/fd | grep -c net/tun").strip() == str(count)
    shell.succeed("ping -c 2 -W 5 10.0.2.1")


def _hears_the_agent(vmi: Object) -> bool:
    return bool(vmi["status"]["interfaces"][0].get("infoSource") == "domain, guest-agent")


def _guest_only(vmi: Object) -> list[Object]:
    return [entry for entry in vmi["status"].get("interfaces", []) if not entry.get("name")]


@pytest.mark.needs("agent")
@pytest.mark.case("NET-050")
@pytest.mark.case("NET-051")
def test_what_an_agent_tells_of_interfaces_is_bounded(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a running VMI whose guest runs the agent.
    Steps: make 15 dummy links, start the agent anew; remove them; make a bridge that is listed before eth0, has its MAC
        and no address; start the agent anew each time.
    Expected: the interface of the spec and exactly 10 of the guest's; only that of the spec; with the bridge the
        address stays the pod's through two answers of the agent, and portforward works.
    """
    vmi, shell = space.boot(build.kernel_boot_vmi(cluster, "vm"))
    addressed(shell)
    own = space.pod(vmi)["status"]["podIP"]

    def told_anew(what: str) -> None:
        shell.succeed("agent stop")
        space.wait_condition("vm", "AgentConnected", "")
        shell.succeed(f"{what}; agent start")
        space.wait_condition("vm", "AgentConnected", "True")

    guest.load(shell, "dummy numdummies=0")
    guest.load(shell, "bridge")
    told_anew("for i in $(seq 15); do ip link add d$i type dummy; done")
    many = space.wait_vmi("vm", lambda seen: bool(_guest_only(seen)), "tells of the guest's links")
    names = [entry.get("interfaceName") for entry in many["status"]["interfaces"]]
    assert len(_guest_only(many)) == 10, names
    first = many["status"]["interfaces"][0]
    assert (first["name"], first["ipAddress"], first["interfaceName"]) == ("default", own, "eth0"), first
    assert first["infoSource"] == "domain, guest-agent"
    told_anew("true")
    again = space.wait_vmi("vm", lambda seen: bool(_guest_only(seen)), "tells of the guest's links again")
    assert len(_guest_only(again)) == 10, again["status"]["interfaces"]

    told_anew("for i in $(seq 15); do ip link del d$i; done")
    space.wait_vmi("vm", lambda seen: not _guest_only(seen), "tells only of the interface of the spec")

    # eth0 goes into another namespace and comes back with a higher number, since its own is taken meanwhile.
    number = shell.succeed("cat /sys/class/net/eth0/ifindex")
    mac = shell.succeed("cat /sys/class/net/eth0/address")
    bridge = (
        "killall udhcpc; (unshare -n sleep 3 & echo $! > /tmp/away); "
        "until [ $(readlink /proc/$(cat /tmp/away)/ns/net) != $(readlink /proc/self/ns/net) ]; do usleep 50000; done; "
        "ip link set eth0 netns $(cat /tmp/away) && "
        f"ip link add name br0 index {number} address {mac} type bridge && "
        "until [ -e /sys/class/net/eth0 ]; do usleep 200000; done; /etc/hotplug network eth0"
    )
    told_anew(bridge)
    addressed(shell)
    links = shell.succeed("cat /sys/class/net/br0/ifindex /sys/class/net/eth0/ifindex").split()
    assert int(links[0]) < int(links[1]), links
    for _ in range(2):
        seen = space.wait_vmi("vm", _hears_the_agent, "hears the agent")
        first = seen["status"]["interfaces"][0]
        assert (first["ipAddress"], first["ipAddresses"]) == (own, [own]), first
        told_anew("true")
    guestnet.serve(shell, 8080)
    nonce = secrets.token_hex(8)
    assert channels.ask_port(space, space.pod(vmi), 8080, nonce) == nonce
    socket = open_socket(space.rest, subresource_path(VMI, space.name, "vm", "portforward/8080"))
    try:
        socket.send_binary(f"{nonce}\n".encode())
        assert socket.recv_data()[1].decode().strip() == nonce
    finally:
        socket.close()
    patience.quiet("the address changes", lambda: guestnet.address(space, "vm"), lambda seen: seen != own, for_s=3)
