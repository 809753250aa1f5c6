"""Pods beside the guests: clients and servers that a tenant would run. They meet the restricted standard.

They run the image of virt-api, an image with Python that every cluster under test has.
"""

import json
from collections.abc import Mapping
from typing import Any

from functests.libs import patience
from functests.libs.build import Manifest
from functests.libs.cluster import Cluster
from functests.libs.kube import Object, Space
from functests.libs.rest import core_path

# Listens on the port in argv[1]; answers each line with "<line> from <own name>" and logs the peer's address.
ECHO_SERVER = """
import socketserver, sys, socket
class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        print("peer", self.client_address[0], flush=True)
        for line in self.rfile:
            self.wfile.write(line.strip() + b" from " + socket.gethostname().encode() + b"\\n")
socketserver.ThreadingTCPServer.allow_reuse_address = True
server = socketserver.ThreadingTCPServer(("", int(sys.argv[1])), Echo)
print("listening", flush=True)
server.serve_forever()
"""

# Sends argv[3] to argv[1]:argv[2] and prints what comes back as one JSON line; tries again until the peer is there.
CLIENT = """
import json, socket, sys, time
end = time.time() + float(sys.argv[4])
while True:
    try:
        with socket.create_connection((sys.argv[1], int(sys.argv[2])), 5) as s:
            own = s.getsockname()[0]
            s.sendall(sys.argv[3].encode() + b"\\n")
            answer = s.makefile().readline().strip()
        break
    except OSError as error:
        answer, own = "error: %s" % error, ""
        # A name too: the cluster's name server learns of a new service a moment later.
        if time.time() > end:
            break
        time.sleep(0.3)
print(json.dumps({"answer": answer, "own": own}), flush=True)
"""


def python_pod(
    cluster: Cluster, name: str, script: str, *argv: str, node: str = "", labels: Mapping[str, str] | None = None
) -> Manifest:
    """A pod that runs ``script`` once with ``argv``."""
    container: Manifest = {
        "name": "main",
        "image": cluster.component_images["virt-api"],
        "command": ["python3", "-c", script, *argv],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
    }
    spec: Manifest = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsUser": 1000,
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
    }
    if node:
        spec["nodeSelector"] = {"kubernetes.io/hostname": node}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels or {}}, "spec": spec}


def start(space: Space, pod: Manifest) -> Object:
    """Create the pod and wait until its container runs (or has ended)."""
    name = pod["metadata"]["name"]
    space.rest.post(core_path("pods", space.name), pod).ok()
    return wait_phase(space, name, ("Running", "Succeeded", "Failed"))


def wait_phase(space: Space, name: str, wanted: tuple[str, ...], *, within_s: float | None = None) -> Object:
    return patience.eventually(
        f"pod {name} is {' or '.join(wanted)}",
        lambda: space.rest.get(core_path("pods", space.name, name)).ok(),
        lambda pod: pod["status"].get("phase") in wanted,
        within_s=within_s if within_s is not None else patience.boots(1) + 30,
    )


def log(space: Space, name: str) -> str:
    return space.rest.get(core_path("pods", space.name, name) + "/log").text


def wait_log(space: Space, name: str, wanted: str) -> str:
    """The pod's log when it has ``wanted``: a program begins to serve after its pod runs, and what it says goes through
    the runtime before it is read."""
    return patience.eventually(
        f"pod {name} says {wanted!r}", lambda: log(space, name), lambda text: wanted in text,
        stop=lambda _: space.rest.get(core_path("pods", space.name, name)).ok()["status"].get("phase") == "Failed",
    )  # fmt: skip


def ask(
    cluster: Cluster,
    space: Space,
    address: str,
    port: int,
    text: str,
    *,
    name: str = "client",
    node: str = "",
    patience_s: float = 60,
) -> dict[str, Any]:
    """One question from a new pod: {"answer": the line that came back, or the error, "own": the client's address}."""
    start(space, python_pod(cluster, name, CLIENT, address, str(port), text, str(patience_s), node=node))
    wait_phase(space, name, ("Succeeded", "Failed"), within_s=patience_s + patience.boots(1))
    said = log(space, name).strip().splitlines()
    assert said, f"pod {name} printed nothing"
    return dict(json.loads(said[-1]))
