"""Which ports of a guest answer, to whom: other pods, clients of the portforward subresource, kubectl port-forward."""

import hashlib
import json
import secrets
import threading

import pytest
import websocket

from functests.fixtures.warm import WarmVm
from functests.libs import build, channels, guestnet, patience, pods
from functests.libs.cluster import Cluster
from functests.libs.console import ConsoleRefused, open_socket
from functests.libs.guestnet import addressed
from functests.libs.kube import Space
from functests.libs.nodes import Nodes
from functests.libs.rest import VMI, core_path, subresource_path

MIB = 1 << 20
# Dials argv[1] on each "tcp:PORT" or "udp:PORT" that follows and prints {"tcp:PORT": what came back, or the error}.
_TRY = """
import json, socket, sys
found = {}
for place in sys.argv[2:]:
    protocol, port = place.split(":")
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as s:
        s.settimeout(5)
        try:
            s.connect((sys.argv[1], int(port)))
            s.sendall(b"nonce\\n")
            found[place] = s.recv(100).decode().strip()
        except OSError as error:
            found[place] = type(error).__name__
print(json.dumps(found), flush=True)
"""


@pytest.mark.case("NET-005")
@pytest.mark.case("NET-020")
def test_a_list_of_ports_opens_these_and_no_others(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a VMI with ports TCP 8080 and UDP 8080; TCP servers on 8080 and 8081 in the guest.
    Steps: a pod tries TCP and UDP on both; port-forward to the launcher pod tries TCP on both.
    Expected: TCP 8080 answers, 8081 is refused and its server saw nobody; of the datagrams the guest's kernel counts
        only that to 8080; the pod's rules are one per entry and no other; port-forward comes from the gateway to 8080
        and ends at 8081.
    """
    ports = [{"name": "web", "port": 8080}, {"name": "dns", "port": 8080, "protocol": "UDP"}]
    interface = {"name": "default", "masquerade": {}, "ports": ports}
    vmi, shell = space.boot(build.merged(
        build.kernel_boot_vmi(cluster, "vm"), {"spec": {"domain": {"devices": {"interfaces": [interface]}}}}))
    addressed(shell)
    guestnet.serve(shell, 8080, 8081)
    before = guestnet.counter(shell, "Udp", "NoPorts")
    tries = ("tcp:8080", "tcp:8081", "udp:8080", "udp:8081")
    pods.start(space, pods.python_pod(cluster, "client", _TRY, guestnet.address(space, "vm"), *tries))
    pods.wait_phase(space, "client", ("Succeeded", "Failed"))
    found = json.loads(pods.log(space, "client").strip().splitlines()[-1])
    assert (found["tcp:8080"], found["tcp:8081"]) == ("nonce", "ConnectionRefusedError"), found
    # Nobody listens on UDP in the guest: its kernel says so for the datagram that arrives, and counts it.
    assert guestnet.counter(shell, "Udp", "NoPorts") - before == 1, found
    assert guestnet.peers(shell, 8081) == []

    node, pod = nodes[vmi["status"]["nodeName"]], space.pod(vmi)
    listed = node.run_in(node.qemu(pod["metadata"]["uid"]).pid, "nft -j list chain ip nat KUBEVIRT_PREINBOUND")
    rules = [entry["rule"]["expr"] for entry in json.loads(listed)["nftables"] if "rule" in entry]
    matches = [
        (part["match"]["left"]["payload"]["protocol"], part["match"]["right"])
        for rule in rules for part in rule if "match" in part and "payload" in part["match"]["left"]
    ]  # fmt: skip
    assert sorted(matches) == [("tcp", 8080), ("udp", 8080)], rules
    assert len([rule for rule in rules if any("dnat" in part for part in rule)]) == 2, rules

    nonce = secrets.token_hex(8)
    assert channels.ask_port(space, pod, 8080, nonce) == nonce
    assert guestnet.peers(shell, 8080)[-1] == "10.0.2.1"
    assert channels.ask_port(space, pod, 8081, nonce) == ""
    assert guestnet.peers(shell, 8081) == []


def _echoed(socket: websocket.WebSocket, data: bytes, *, within_s: float) -> bytes:
    """Send ``data`` and read as much; both at once, since neither side can hold it all."""
    answer = bytearray()

    def read() -> None:
        while len(answer) < len(data):
            opcode, frame = socket.recv_data()
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                return
            answer.extend(frame)

    socket.settimeout(within_s)
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    for begin in range(0, len(data), 32768):
        socket.send_binary(data[begin : begin + 32768])
    reader.join(within_s)
    return bytes(answer)


@pytest.mark.case("NET-018")
@pytest.mark.case("NET-020")
def test_port_forward_carries_bytes_both_ways(warm_vm: WarmVm) -> None:
    """
    Preconditions: a VMI without a list of ports, an echo server on 8080 in its guest.
    Steps: send 1 MiB of random bytes through the portforward subresource and read it back; close; port-forward to the
        launcher pod.
    Expected: the same bytes; the guest saw a peer that is not loopback; its connection ends within 5 s; the pod's
        port-forward comes from the gateway.
    """
    space, vmi, shell = warm_vm.space, warm_vm.vmi, warm_vm.shell
    addressed(shell)
    guestnet.serve(shell, 8080)
    data = secrets.token_bytes(MIB)
    socket = open_socket(space.rest, subresource_path(VMI, space.name, "vm", "portforward/8080"))
    try:
        answer = _echoed(socket, data, within_s=patience.promised(60))
        assert hashlib.sha256(answer).hexdigest() == hashlib.sha256(data).hexdigest(), f"{len(answer)} bytes came back"
        assert guestnet.peers(shell, 8080) != [], "the guest saw nobody"
        assert not guestnet.peers(shell, 8080)[-1].startswith("127."), guestnet.peers(shell, 8080)
        connections = "netstat -tn | grep ':8080 ' | grep -c ESTABLISHED"
        assert shell.run(connections).out.strip() == "1"
    finally:
        socket.close()
    patience.eventually(
        "the guest's connection ends", lambda: shell.run(connections).out.strip(), lambda left: left == "0",
        within_s=patience.promised(5),
    )
    nonce = secrets.token_hex(8)
    assert channels.ask_port(space, space.pod(vmi), 8080, nonce) == nonce
    assert guestnet.peers(shell, 8080)[-1] == "10.0.2.1"
    guestnet.serve_no_more(shell)


def _refused(space: Space, port: int) -> tuple[int, str]:
    """Code and body of a portforward that is refused before any upgrade."""
    with pytest.raises(ConsoleRefused) as refused:
        open_socket(space.rest, subresource_path(VMI, space.name, "vm", f"portforward/{port}")).close()
    return refused.value.code, refused.value.body


@pytest.mark.case("NET-016")
@pytest.mark.case("NET-019")
def test_a_paused_guest_leaves_its_service(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a VMI behind a Service, an echo server on 8080 in its guest.
    Steps: portforward to a port without listener; pause; ask by the Service and by portforward; unpause; ask again.
    Expected: 500 "dialing VM"; paused: the endpoint is not ready within 10 s, new connections fail, portforward is
        409 "VMI is paused"; then ready, the guest answers, and its uptime has gone on.
    """
    vmi, shell = space.boot(build.merged(
        build.kernel_boot_vmi(cluster, "vm"), {"metadata": {"labels": {"app": "front"}}}))
    addressed(shell)
    guestnet.serve(shell, 8080)
    spec = {"selector": {"app": "front"}, "ports": [{"port": 80, "targetPort": 8080}]}
    space.rest.post(core_path("services", space.name), {"metadata": {"name": "front"}, "spec": spec}).ok()

    def ready() -> list[bool]:
        path = f"/apis/discovery.k8s.io/v1/namespaces/{space.name}/endpointslices"
        selector = "labelSelector=kubernetes.io/service-name%3Dfront"
        items = space.rest.get(f"{path}?{selector}").ok()["items"]
        return [endpoint["conditions"]["ready"] for item in items for endpoint in item.get("endpoints") or []]

    patience.eventually("the endpoint is ready", ready, lambda seen: seen == [True])
    nonce = secrets.token_hex(8)
    assert pods.ask(cluster, space, "front", 80, nonce, name="before")["answer"] == nonce
    code, body = _refused(space, 9)
    assert (code, "dialing VM" in body) == (500, True), body
    boot, uptime = (shell.succeed(f"cat /proc/{name}") for name in ("sys/kernel/random/boot_id", "uptime"))

    assert space.act_on_vmi("vm", "pause").code == 200
    patience.eventually("the endpoint is not ready", ready, lambda seen: seen == [False])
    code, body = _refused(space, 8080)
    assert (code, "VMI is paused" in body) == (409, True), body
    paused = pods.ask(cluster, space, "front", 80, nonce, name="paused", patience_s=1)
    assert paused["answer"].startswith("error:"), paused

    assert space.act_on_vmi("vm", "unpause").code == 200
    patience.eventually("the endpoint is ready again", ready, lambda seen: seen == [True])
    assert pods.ask(cluster, space, "front", 80, nonce, name="after")["answer"] == nonce
    assert shell.succeed("cat /proc/sys/kernel/random/boot_id") == boot
    assert float(shell.succeed("cat /proc/uptime").split()[0]) > float(uptime.split()[0])
    assert space.vmi("vm")["metadata"]["uid"] == vmi["metadata"]["uid"]
