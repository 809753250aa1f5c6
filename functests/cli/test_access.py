"""Ways of the command to a cluster, and what it says of versions. Needs no guest."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster_up import exec as host
from cluster_up.exec import Result
from functests.libs import build, commands, pods
from functests.libs.cluster import Cluster
from functests.libs.kube import Space
from functests.libs.rest import core_path

DEAD = "https://127.0.0.1:1"
_GROUP = "/apis/subresources.kubevirt.io"
# The command's own source, beside what the image has of the package, with the pod's account.
_IN_CLUSTER = """
import sys, virt
virt.__path__.append("/client")
from virt.virtctl.main import run
sys.exit(run(sys.argv[1:], "virtctl"))
"""


@contextmanager
def _other_server(version: str) -> Iterator[tuple[str, list[str]]]:
    """A server of another version: its address, and the paths that it was asked for."""
    asked: list[str] = []

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            group = {"preferredVersion": {"groupVersion": "subresources.kubevirt.io/v1"}}
            body = json.dumps(group if self.path == _GROUP else {"gitVersion": version}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing on the test's own output."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join(10)


def _run(cluster: Cluster, *words: str, kubeconfig: str | None = None) -> Result:
    """The command with another KUBECONFIG, "" for none."""
    env = {**commands.environment(cluster), "HOME": "/nonexistent"}
    if kubeconfig is not None:
        env["KUBECONFIG"] = kubeconfig
    return host.run([commands.VIRTCTL, *words], deadline_s=60, env=env, check=False)


@pytest.mark.case("CLI-002")
def test_versions_of_client_and_server(cluster: Cluster) -> None:
    """
    Preconditions: none.
    Steps: version; with -c; against a port where nobody listens; against a server of another version.
    Expected: a line of each; -c prints the client's alone and asks nobody; exit 1 that names the address; exit 0 with a
        line on standard error that says that they differ.
    """
    both = commands.virtctl(cluster, "version")
    assert both.code == 0, both
    assert [line.partition(":")[0] for line in both.stdout.splitlines()] == ["Client Version", "Server Version"], both
    dead = _run(cluster, "version", "--server", DEAD)
    assert (dead.code, DEAD in dead.stderr, len(dead.stderr.strip().splitlines())) == (1, True, 1), dead
    with _other_server("v9.9.9") as (address, asked):
        client = _run(cluster, "version", "-c", "--server", address, kubeconfig="")
        assert (client.code, client.stderr, asked) == (0, "", []), client
        assert [line.partition(":")[0] for line in client.stdout.splitlines()] == ["Client Version"], client
        other = _run(cluster, "version", "--server", address, kubeconfig="")
        assert (other.code, 'GitVersion:"v9.9.9"' in other.stdout) == (0, True), other
        assert "v9.9.9" in other.stderr, other
        assert "differ" in other.stderr, other
        assert asked == [_GROUP, f"{_GROUP}/v1/version"], asked


def _token(space: Space, account: str) -> str:
    """A token of a new service account that may edit in the test's namespace."""
    space.rest.post(core_path("serviceaccounts", space.name), {"metadata": {"name": account}}).ok()
    space.rest.post(
        f"/apis/rbac.authorization.k8s.io/v1/namespaces/{space.name}/rolebindings",
        {
            "metadata": {"name": account},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": space.name}],
        },
    ).ok()
    request = {"spec": {"expirationSeconds": 600}}
    path = core_path("serviceaccounts", space.name, account) + "/token"
    return str(space.rest.post(path, request).ok()["status"]["token"])


@pytest.mark.demand(vcpus=0, memory_mib=0, boots=0)
@pytest.mark.case("CLI-018")
def test_all_ways_lead_to_the_cluster(space: Space, cluster: Cluster, tmp_path: Path) -> None:
    """
    Preconditions: VMs that no node takes, all stopped; an account that may edit in the namespace.
    Steps: start one each by --kubeconfig, by two files in KUBECONFIG with --context, by a context's own namespace, by
        --server with --token, in a pod by its account; then a missing file, broken YAML, an unknown context, a token
        that is none.
    Expected: the right VM is started each time, by the user that was meant; exit 1 with one line that names the file or
        the context, and no secret in it.
    """
    names = ("by-file", "by-two", "by-context", "by-token", "by-account")
    for name in names:
        far = build.on_node(build.kernel_boot_vmi(cluster, name), "no-such-node")
        space.create(build.vm_of(far, "Halted"))
    config = yaml.safe_load(Path(cluster.kubeconfig).read_text())
    (entry,) = config["clusters"]
    context = config["contexts"][0]["context"]
    first, second = tmp_path / "first", tmp_path / "second"
    # What is named twice counts as the first file has it; the other has what is missing in it.
    first.write_text(yaml.safe_dump({
        "contexts": [
            {"name": "wrong", "context": {**context, "namespace": "nowhere"}},
            {"name": "right", "context": {**context, "namespace": space.name}},
        ],
        "current-context": "wrong",
    }))  # fmt: skip
    second.write_text(yaml.safe_dump({**config, "current-context": "right"}))
    token = _token(space, "editor")
    authority = tmp_path / "ca"
    authority.write_bytes(base64.b64decode(entry["cluster"]["certificate-authority-data"]))
    address = ("--server", entry["cluster"]["server"], "--certificate-authority", str(authority))
    two = f"{first}:{second}"
    done = {
        "by-file": _run(
            cluster, "start", "by-file", "-n", space.name, "--kubeconfig", str(cluster.kubeconfig), kubeconfig=""
        ),
        "by-two": _run(cluster, "start", "by-two", "-n", space.name, "--context", "right", kubeconfig=two),
        "by-context": _run(cluster, "start", "by-context", "--context", "right", kubeconfig=two),
        "by-token": _run(
            cluster, "start", "by-token", "-n", space.name, *address, "--token", token, kubeconfig=""
        ),
    }  # fmt: skip
    wrong = [f"{name}: {result}" for name, result in done.items() if result.code != 0]
    assert not wrong, wrong
    _start_in_a_pod(space, cluster, "by-account")
    started = {name: space.vm(name)["spec"]["runStrategy"] for name in names}
    assert set(started.values()) == {"Always"}, started

    broken = tmp_path / "broken"
    broken.write_text("clusters: [\nusers: {")
    faults = {
        "a missing file": (_run(cluster, "version", "--kubeconfig", f"{tmp_path}/none"), f"{tmp_path}/none"),
        "broken YAML": (_run(cluster, "version", "--kubeconfig", str(broken)), str(broken)),
        "an unknown context": (_run(cluster, "version", "--context", "nobody"), "nobody"),
        "a token that is none": (
            _run(cluster, "start", "by-token", "-n", space.name, *address, "--token", "s3cret-token", kubeconfig=""),
            "nauthorized",
        ),
    }  # fmt: skip
    wrong = [
        f"{what}: {result}"
        for what, (result, named) in faults.items()
        if (result.code, result.stdout) != (1, "") or named not in result.stderr or "s3cret" in result.stderr
        or len(result.stderr.strip().splitlines()) != 1
    ]  # fmt: skip
    assert not wrong, wrong


def _start_in_a_pod(space: Space, cluster: Cluster, name: str) -> None:
    """By the command in a pod, with nothing but the pod's account."""
    files = {path.name: path.read_text() for path in (commands.ROOT / "virt" / "virtctl").glob("*.py")}
    space.rest.post(core_path("configmaps", space.name), {"metadata": {"name": "client"}, "data": files}).ok()
    pod = pods.python_pod(cluster, "client", _IN_CLUSTER, "start", name)
    spec = pod["spec"]
    spec |= {"serviceAccountName": "editor", "automountServiceAccountToken": True}
    spec["volumes"] = [{"name": "client", "configMap": {"name": "client"}}]
    spec["containers"][0]["volumeMounts"] = [{"name": "client", "mountPath": "/client/virtctl"}]
    pods.start(space, pod)
    ended = pods.wait_phase(space, "client", ("Succeeded", "Failed"))
    assert ended["status"]["phase"] == "Succeeded", pods.log(space, "client")
