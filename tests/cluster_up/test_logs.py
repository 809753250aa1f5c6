"""What is collected of a cluster that is half there."""

from pathlib import Path
from typing import Any, cast

import pytest

from cluster_up import docker, logs, paths
from cluster_up.errors import ClusterError
from cluster_up.kube import Kube
from cluster_up.providers.api import Provider
from cluster_up.state import State


class HalfThere:
    """An API server that lists the pods of one namespace only, and a provider without nodes."""

    def nodes(self) -> list[object]:
        return []

    def is_ready(self) -> bool:
        return True

    def pods(self, namespace: str) -> list[dict[str, Any]]:
        if namespace != "kube-system":
            raise ClusterError("etcd is away")
        return [{"metadata": {"name": "dns"}, "spec": {"containers": [{"name": "c"}], "nodeName": "n1"},
                 "status": {"phase": "Running"}}]

    def text(self, path: str, **query: str) -> str:
        return f"{path} {query['container']}\n"


def test_pods_that_cannot_be_listed_leave_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*argv: str) -> str:
        raise ClusterError("no such container")

    monkeypatch.setattr(paths, "cluster_folder", lambda name: tmp_path / "none")
    monkeypatch.setattr(docker, "run", refused)
    half = HalfThere()
    folder = logs.collect(State(name="x"), cast("Provider", half), cast("Kube", half), tmp_path / "logs")
    found = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*.*")}
    assert found == {
        "registry.log": "could not be read: no such container\n",
        "kubevirt/pods.txt": "could not be read: etcd is away\n",
        "local-path-storage/pods.txt": "could not be read: etcd is away\n",
        "kube-system/pods.txt": "dns Running n1\n",
        "kube-system/dns-c.log": "/api/v1/namespaces/kube-system/pods/dns/log c\n",
    }
