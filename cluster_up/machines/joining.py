"""How a machine becomes a node of the cluster: what it is told, as files and one kubeadm configuration. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from cluster_up.machines.model import Machine
from cluster_up.providers.capacity import Reserve

# Only pods that ask for it land on a machine: it is slow, and its memory is for guests with devices.
TAINT = "virt-harness/machine"
LABELS: Mapping[str, str] = {"virt-harness/machine": "true", "virt-harness/sriov": "true"}
_SOCKET = "unix:///run/containerd/containerd.sock"


@dataclass(frozen=True)
class Credentials:
    """What kubeadm on a control plane said: ``token``, and ``ca_hashes`` of the certificate authority."""

    endpoint: str
    token: str
    ca_hashes: tuple[str, ...]


class JoinCommandError(ValueError):
    """kubeadm said something else than a command to join."""


def credentials(text: str) -> Credentials:
    """From the output of ``kubeadm token create --print-join-command``. Raises JoinCommandError.

    >>> credentials("kubeadm join dev-control-plane:6443 --token a.b --discovery-token-ca-cert-hash sha256:1").token
    'a.b'
    """
    line = next((line for line in text.splitlines() if line.strip().startswith("kubeadm join ")), "")
    words = line.split()
    try:
        token = words[words.index("--token") + 1]
        hashes = tuple(words[at + 1] for at, word in enumerate(words) if word == "--discovery-token-ca-cert-hash")
        endpoint = words[2]
    except (ValueError, IndexError):
        raise JoinCommandError(f"kubeadm printed no command to join: {text.strip()[:200]!r}") from None
    if not hashes:
        raise JoinCommandError(f"kubeadm's command to join has no hash of the CA: {line[:200]!r}")
    return Credentials(endpoint, token, hashes)


def join_configuration(machine: Machine, address: str, given: Credentials, reserve: Reserve) -> str:
    """kubeadm's JoinConfiguration as YAML. Taint and labels come with the node: no pod slips in before."""
    arguments = {
        "node-ip": address,
        "node-labels": ",".join(f"{name}={value}" for name, value in sorted(LABELS.items())),
        "system-reserved": f"cpu={reserve.millicpu}m,memory={reserve.mib}Mi",
    }
    document: dict[str, Any] = {
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "JoinConfiguration",
        "discovery": {"bootstrapToken": {
            "apiServerEndpoint": given.endpoint, "token": given.token, "caCertHashes": list(given.ca_hashes)}},
        "nodeRegistration": {
            "name": machine.name,
            "criSocket": _SOCKET,
            "taints": [{"key": TAINT, "value": "true", "effect": "NoSchedule"}],
            "kubeletExtraArgs": [{"name": name, "value": value} for name, value in arguments.items()],
            # A machine is judged by its kernel; kubeadm's look at it takes longer than the join.
            "ignorePreflightErrors": ["all"],
        },
    }
    return yaml.safe_dump(document, sort_keys=False)


def hosts(known: Mapping[str, str]) -> str:
    """/etc/hosts of a machine: the engine's name server answers containers only. ``known``: address by name."""
    return "127.0.0.1 localhost\n" + "".join(f"{address} {name}\n" for name, address in sorted(known.items()))
