"""Nodes as containers on the local engine, made by kind.

Ownership is written where it cannot be lost: every node mounts its cluster's folder, so a cluster of the same name made
by somebody else is told apart even without a state file.
"""

import os
from pathlib import Path
from typing import Any

import yaml

from cluster_up import docker, paths
from cluster_up import exec as host
from cluster_up.config.types import Config
from cluster_up.exec import Log
from cluster_up.images import programs
from cluster_up.kube import seconds_of
from cluster_up.providers.api import Existence, NodeView
from cluster_up.providers.capacity import Reserve, reserves

_CLUSTER = "io.x-k8s.kind.cluster"
_ROLE = "io.x-k8s.kind.role"
_CREATE_S = 600.0
SHARED_ON_NODE = "/var/virt-shared"          # one folder of the machine, in every node
_CERTS_ON_NODE = "/etc/containerd/certs.d"


def node_config(config: Config, folder: Path, kept: dict[str, Reserve]) -> dict[str, Any]:
    """kind's configuration of the cluster. ``folder`` is the cluster's, ``kept`` the reserve of a node by role."""
    mounts = [
        {"hostPath": str(folder / "shared"), "containerPath": SHARED_ON_NODE},
        {"hostPath": str(folder / "certs.d"), "containerPath": _CERTS_ON_NODE, "readOnly": True},
    ]

    def node(role: str) -> dict[str, Any]:
        reserve = kept[role]
        flag = f"cpu={reserve.millicpu}m,memory={reserve.mib}Mi"
        # The flag and not the kubelet's file: kubeadm gives every node the same file.
        patches = [
            yaml.safe_dump({"kind": kind, "nodeRegistration": {"kubeletExtraArgs": {"system-reserved": flag}}})
            for kind in ("InitConfiguration", "JoinConfiguration")
        ]
        return {"role": role, "extraMounts": mounts, "kubeadmConfigPatches": patches}

    kubelet = {
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "failCgroupV1": False,                # 1.35 and later refuse cgroup v1 otherwise
    }
    return {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "networking": {
            "disableDefaultCNI": True,
            "kubeProxyMode": "nftables",
            "apiServerAddress": "127.0.0.1",
            "podSubnet": str(config.pod_cidr),
            "serviceSubnet": str(config.service_cidr),
        },
        "kubeadmConfigPatches": [yaml.safe_dump(patch) for patch in (kubelet, _control_plane(config.control_planes))],
        "nodes": [node("control-plane")] * config.control_planes + [node("worker")] * config.workers,
    }


def _control_plane(count: int) -> dict[str, Any]:
    """One alone elects no leader: a scheduler that cannot renew its lease on a busy machine would only restart."""
    arguments = {"leader-elect": "false"} if count == 1 else {}
    return {"kind": "ClusterConfiguration", "controllerManager": {"extraArgs": arguments},
            "scheduler": {"extraArgs": arguments}}


class KindProvider:
    """:class:`cluster_up.providers.api.Provider` on the local engine."""

    def __init__(self, name: str, log: Log = lambda line: None) -> None:
        self.name = name
        self._log = log
        self.folder = paths.cluster_folder(name)
        self._made = self.folder / "nodes-made"       # written after kind is through

    @property
    def network(self) -> str:
        return f"virt-{self.name}"

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    def existence(self) -> Existence:
        names = docker.containers(**{_CLUSTER: self.name})
        if not names:
            return Existence.ABSENT
        mounted = {mount.get("Source") for found in docker.inspect_all(names) for mount in found["Mounts"]}
        if str(self.folder / "shared") not in mounted:
            return Existence.FOREIGN
        if not self._made.exists():
            self._log(f"{len(names)} nodes are there, and {self._made} is not: they are half made")
            return Existence.PARTIAL
        return Existence.OURS

    def create(self, config: Config, image: str, registry_port: int) -> None:
        self.prepare(registry_port)
        file = self.folder / "kind.yaml"
        kept = reserves(
            cpus=os.cpu_count() or 1,
            machine_mib=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
            usable_mib=config.memory_mib,
            control_planes=config.control_planes,
            workers=config.workers,
        )
        file.write_text(yaml.safe_dump(node_config(config, self.folder, dict(kept)), sort_keys=False))
        self._made.unlink(missing_ok=True)
        self._kind("create", "cluster", "--image", image, "--config", file, "--kubeconfig", self.kubeconfig)
        self.kubeconfig.chmod(0o600)
        self._made.touch()

    def prepare(self, registry_port: int) -> None:
        """Folders that the nodes mount, and where their containerd finds the registry."""
        (self.folder / "shared").mkdir(parents=True, exist_ok=True)
        (self.folder / "shared").chmod(0o777)
        hosts = self.folder / "certs.d" / f"localhost:{registry_port}" / "hosts.toml"
        hosts.parent.mkdir(parents=True, exist_ok=True)
        hosts.write_text(f'[host."http://{registry_host(self.name)}:5000"]\n')

    def delete(self) -> None:
        if docker.containers(**{_CLUSTER: self.name}):
            self._kind("delete", "cluster", "--kubeconfig", self.kubeconfig)
        self._made.unlink(missing_ok=True)

    def nodes(self) -> tuple[NodeView, ...]:
        views = []
        for found in docker.inspect_all(docker.containers(**{_CLUSTER: self.name})):
            networks = found["NetworkSettings"]["Networks"]
            address = networks.get(self.network, {}).get("IPAddress", "")
            name, role = found["Name"].lstrip("/"), found["Config"]["Labels"][_ROLE]
            started = seconds_of(found["State"]["StartedAt"])
            views.append(NodeView(name, role, address, found["State"]["Running"], started))
        return tuple(sorted(views, key=lambda view: (view.role, view.name)))

    def start(self) -> None:
        stopped = [view.name for view in self.nodes() if not view.running]
        if stopped:
            docker.run("start", *stopped)
        if not self.kubeconfig.exists():
            self._kind("export", "kubeconfig", "--kubeconfig", self.kubeconfig)
            self.kubeconfig.chmod(0o600)

    def run(self, node: str, script: str, *, deadline_s: float = 180.0) -> str:
        return docker.run("exec", "--interactive", node, "sh", "-eu", input=script, deadline_s=deadline_s)

    def shell(self, node: str) -> int:
        return host.attach(["docker", "exec", "--interactive", "--tty", node, "bash"])

    def _kind(self, *words: str | Path) -> None:
        program = programs.folder(programs.KIND, self._log) / "kind"
        host.run(
            [program, *words, "--name", self.name],
            deadline_s=_CREATE_S,
            env={"KIND_EXPERIMENTAL_DOCKER_NETWORK": self.network},
            on_line=self._log,
        )


def registry_host(name: str) -> str:
    """Name of the cluster's registry, as its container and as its nodes know it."""
    return f"virt-{name}-registry"
