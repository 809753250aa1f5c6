"""A machine joins once, however often it is asked to, and follows its container to another address."""

import base64
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cluster_up import docker
from cluster_up.kube import KubeError
from cluster_up.machines.model import Machine
from cluster_up.machines.node import Membership, address_script
from cluster_up.providers.api import NodeView

JOIN = "kubeadm join dev-control-plane:6443 --token a.b --discovery-token-ca-cert-hash sha256:1\n"


class Hosts:
    def __init__(self, *, joined: bool) -> None:
        self.joined = joined
        self.scripts: list[str] = []

    def views(self) -> tuple[NodeView, ...]:
        return (NodeView("dev-machine", "machine", "172.18.0.7", True),)

    def run(self, name: str, script: str, *, deadline_s: float) -> str:
        self.scripts.append(script)
        return "yes\n" if self.joined and "test -e" in script else "no\n"


class Nodes:
    network = "virt-dev"

    def nodes(self) -> tuple[NodeView, ...]:
        return (NodeView("dev-control-plane", "control-plane", "172.18.0.2", True),)

    def run(self, node: str, script: str, *, deadline_s: float = 60.0) -> str:
        assert node == "dev-control-plane"
        return JOIN


class Api:
    def __init__(self, code: int = 0) -> None:
        self._code = code
        self.removed: list[str] = []
        self.asked = 0

    def is_ready(self) -> bool:
        self.asked += 1
        return True

    def remove(self, path: str) -> None:
        self.removed.append(path)
        if self._code:
            raise KubeError(self._code, "DELETE", path, "")


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[str, Any] = {"NetworkSettings": {
        "Networks": {"virt-dev": {"IPAddress": "172.18.0.3"}}, "Ports": {"5000/tcp": [{"HostPort": "4711"}]}}}
    monkeypatch.setattr(docker, "inspect", lambda kind, name: found)


def written(script: str) -> dict[str, str]:
    return {
        path: base64.b64decode(packed).decode()
        for packed, path in re.findall(r"echo (\S+) \| base64 -d > (\S+)", script)
    }


def membership(hosts: Hosts, api: Api) -> Membership:
    return Membership("dev", Nodes(), hosts, lambda: api, lambda line: None)


def test_a_new_machine_joins_under_a_name_that_is_free() -> None:
    hosts, api = Hosts(joined=False), Api(404)
    membership(hosts, api).join(Machine("dev", 1))
    assert api.removed == ["/api/v1/nodes/dev-machine"]
    assert api.asked                                                  # it may be starting still
    files = written("".join(hosts.scripts))
    assert "172.18.0.2 dev-control-plane\n172.18.0.7 dev-machine\n172.18.0.3 virt-dev-registry\n" in files["/etc/hosts"]
    assert files["/etc/containerd/certs.d/localhost:4711/hosts.toml"] == '[host."http://virt-dev-registry:5000"]\n'
    assert "name: dev-machine" in files["/etc/kubernetes/join.yaml"]
    assert "kubeadm join --config" in hosts.scripts[-1]


def test_one_that_has_joined_keeps_its_node() -> None:
    hosts, api = Hosts(joined=True), Api()
    membership(hosts, api).join(Machine("dev", 1))
    assert api.removed == []
    assert not any("kubeadm" in script and "join" in script for script in hosts.scripts)
    assert hosts.scripts[-1] == address_script("172.18.0.7")


def test_an_api_that_refuses_is_told() -> None:
    with pytest.raises(KubeError):
        membership(Hosts(joined=False), Api(403)).leave("dev-machine")


@pytest.mark.parametrize(("before", "restarts"), [("172.18.0.7", 0), ("172.18.0.70", 1), ("172.18.0.9", 1)])
def test_the_kubelet_is_told_another_address(tmp_path: Path, before: str, restarts: int) -> None:
    flags, calls = tmp_path / "flags", tmp_path / "calls"
    flags.write_text(f'KUBELET_KUBEADM_ARGS="--hostname-override=dev-machine --node-ip={before} --v=1"\n')
    script = address_script("172.18.0.7").replace("/var/lib/kubelet/kubeadm-flags.env", str(flags))
    subprocess.run(["sh", "-euc", f"systemctl() {{ echo $* >> {calls}; }}\n{script}"], check=True, timeout=20)
    assert "--node-ip=172.18.0.7 --v=1" in flags.read_text()
    assert (calls.read_text().splitlines() if calls.exists() else []) == ["restart kubelet"] * restarts
