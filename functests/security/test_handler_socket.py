"""The handler's socket: whoever gets hold of it is still only the pod that the kernel says it is."""

import pytest

from functests.libs import build, msgpack, patience, pods
from functests.libs.cluster import Cluster
from functests.libs.kube import Object, Space
from functests.libs.rest import core_path

SOCKET = "/var/run/kubevirt-handler/handler.sock"

# Dials the socket, sends its claim, argv[1], and listens until the other side closes, at most argv[2] seconds. The last
# line says how it ended and how many bytes came back.
_STRANGER = f"""
import socket, sys
answered, end = 0, "open"
with socket.socket(socket.AF_UNIX) as s:
    s.settimeout(float(sys.argv[2]))
    s.connect("{SOCKET}")
    print("connected", flush=True)
    try:
        s.sendall(bytes.fromhex(sys.argv[1]))
        while data := s.recv(65536):
            answered += len(data)
        end = "closed"
    except TimeoutError:
        pass
    except OSError:
        end = "closed"
print(end, answered, flush=True)
"""
_PATIENCE_S = 60      # longer than the handler lets an unknown pod wait unserved


def _claim(vmi: Object) -> str:
    """A well-formed greeting that names the victim in every field a handler might believe; hex."""
    metadata = vmi["metadata"]
    greeting = {key: metadata[key] for key in ("namespace", "name", "uid")}
    return msgpack.event({"type": "Hello", "version": 1, "pid": 1, **greeting}).hex()


def _handler_log(space: Space, node: str) -> str:
    query = f"labelSelector=kubevirt.io%3Dvirt-handler&fieldSelector=spec.nodeName%3D{node}"
    path = f"{core_path('pods', 'kubevirt')}?{query}"
    handler = space.rest.get(path).ok()["items"][0]["metadata"]["name"]
    return space.rest.get(core_path("pods", "kubevirt", handler) + "/log?sinceSeconds=300").text


def _state(vmi: Object) -> tuple[object, ...]:
    conditions = [(entry["type"], entry["status"]) for entry in vmi["status"]["conditions"]]
    return vmi["status"]["phase"], vmi["status"].get("interfaces"), sorted(conditions)


def _settled(space: Space) -> tuple[object, ...]:
    """The victim's state when nobody has written to it for two seconds: a start's last conditions come late."""
    seen: list[str] = []

    def versions() -> list[str]:
        seen.append(space.vmi("victim")["metadata"]["resourceVersion"])
        return seen[-9:]

    patience.eventually(
        "nobody writes to the victim", versions, lambda last: len(last) == 9 and len(set(last)) == 1
    )
    return _state(space.vmi("victim"))


@pytest.mark.demand(boots=2)
@pytest.mark.case("SEC-007")
def test_a_stranger_cannot_speak_for_a_vmi(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a running VMI (the victim); on its node a tenant's pod that got the handler's socket through
        devices.kubevirt.io/tun and can connect to it.
    Steps: the pod claims to be the victim.
    Expected: it is told nothing and closed out; the victim's state and guest go on; the handler names the pod's uid.
    """
    vmi, shell = space.boot(build.kernel_boot_vmi(cluster, "victim", kernel_args="tiny.agent=0"))
    space.wait_vmi("victim", lambda seen: bool(seen["status"].get("interfaces")), "has interfaces")
    space.wait_condition("victim", "Ready", "True")
    node = vmi["status"]["nodeName"]
    before = _settled(space)
    shell.send("i=0; while true; do echo tick-$i; i=$((i+1)); sleep 1; done\n")
    shell.wait_for(r"tick-2\r", within_s=patience.promised(20))

    manifest = pods.python_pod(cluster, "stranger", _STRANGER, _claim(vmi), str(_PATIENCE_S), node=node)
    resources = manifest["spec"]["containers"][0]["resources"]
    resources["limits"] = {"devices.kubevirt.io/tun": "1"}
    stranger = pods.start(space, manifest)
    ended = pods.wait_phase(space, "stranger", ("Succeeded", "Failed"), within_s=patience.promised(_PATIENCE_S))
    said = pods.log(space, "stranger")
    assert ended["status"]["phase"] == "Succeeded", said
    assert "connected" in said, said
    assert said.strip().splitlines()[-1] == "closed 0", said

    assert _state(space.vmi("victim")) == before
    tick = int(shell.wait_for(r"tick-(\d+)\r", within_s=patience.promised(5), since=shell.position).group(1))
    assert f"tick-{tick - 1}\r" in shell.transcript, "the guest's counter has a hole"
    uid = stranger["metadata"]["uid"]
    patience.eventually("the handler's log names the pod", lambda: _handler_log(space, node), lambda text: uid in text)
