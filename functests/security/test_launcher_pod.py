"""What a launcher pod is allowed, in its spec and in its processes."""

import copy
from typing import Any

import pytest

from functests.fixtures.warm import WarmVm
from functests.libs import build, patience
from functests.libs.build import Manifest
from functests.libs.cluster import Cluster
from functests.libs.kube import Object, Space
from functests.libs.nodes import Nodes
from functests.libs.rest import core_path

STANDARD = "pod-security.kubernetes.io"
NOWHERE = "no-such-node"


def _again(pod: Object) -> Manifest:
    """The stored pod as a manifest that can be sent once more."""
    spec = copy.deepcopy(dict(pod["spec"]))
    spec.pop("nodeName", None)
    metadata = {"generateName": "again-", "labels": pod["metadata"].get("labels", {})}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


@pytest.mark.case("SEC-001")
def test_a_vm_runs_where_pods_are_restricted(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a namespace that enforces and warns about the restricted standard, latest version; it refuses a
        privileged pod (the control).
    Steps: run a VM with containerDisk, cloud-init, masquerade and a probe; send its pod's spec again (dry run).
    Expected: it runs and answers; no FailedCreate; the pod is accepted without a warning.
    """
    labels = {f"{STANDARD}/{key}": value for mode in ("enforce", "warn") for key, value in (
        (mode, "restricted"), (f"{mode}-version", "latest"))}  # fmt: skip
    space.rest.patch(f"/api/v1/namespaces/{space.name}", {"metadata": {"labels": labels}}).ok()
    container = {"name": "main", "image": "localhost/none:1", "securityContext": {"privileged": True}}
    privileged = {"metadata": {"name": "control"}, "spec": {"containers": [container]}}
    assert space.rest.post(core_path("pods", space.name) + "?dryRun=All", privileged).code == 403

    seeded = build.with_disk(
        build.disk_boot_vmi(cluster, "vm"), "seed", {"cloudInitNoCloud": {"userData": "#cloud-config\n"}}
    )
    probe = {"tcpSocket": {"port": 22}, "periodSeconds": 2}
    vmi, shell = space.boot(build.vm_of(build.merged(seeded, {"spec": {"readinessProbe": probe}})))
    assert shell.succeed("echo $((6*7))") == "42"
    reasons = space.reasons("vm")
    assert "FailedCreate" not in reasons, reasons

    answer = space.rest.post(core_path("pods", space.name) + "?dryRun=All", _again(space.pod(vmi)))
    assert answer.code == 201, answer.text
    warnings = [value for name, value in answer.headers.items() if name.lower() == "warning"]
    assert not warnings, warnings


def _shapes(space: Space, cluster: Cluster) -> dict[str, Manifest]:
    """Five kinds of VMs; none is ever scheduled, since only their pods' specs are read."""
    space.rest.post(core_path("persistentvolumeclaims", space.name), build.pvc("data")).ok()
    secret = {"metadata": {"name": "seed"}, "stringData": {"userdata": "x"}}
    space.rest.post(core_path("secrets", space.name), secret).ok()
    claim = {"persistentVolumeClaim": {"claimName": "data"}}
    image = {"containerDisk": {"image": cluster.image("tiny")}}
    shapes = {
        "minimal": build.disk_boot_vmi(cluster, "minimal", bus=None),
        "kernel": build.kernel_boot_vmi(cluster, "kernel"),
        "claim": build.with_disk(build.kernel_boot_vmi(cluster, "claim"), "data", claim),
        "secret": build.with_disk(
            build.kernel_boot_vmi(cluster, "secret"), "seed", {"cloudInitNoCloud": {"secretRef": {"name": "seed"}}}
        ),
        "two": build.with_disk(build.disk_boot_vmi(cluster, "two"), "second", image),
    }
    return {name: build.on_node(manifest, NOWHERE) for name, manifest in shapes.items()}


def _pod_faults(pod: Object) -> list[str]:
    """Everything in the pod's own part of the spec that gives it more than it needs."""
    spec = pod["spec"]
    faults = [key for key in ("hostNetwork", "hostPID", "hostIPC") if spec.get(key)]
    if spec.get("automountServiceAccountToken") is not False:
        faults.append("automountServiceAccountToken is not false")
    for volume in spec.get("volumes", []):
        faults += [f"volume {volume['name']}: {kind}" for kind in ("hostPath", "projected") if kind in volume]
    return faults


def _container_faults(pod: Object, container: Object) -> list[str]:
    """The same for one container; the pod's security context counts where the container has none of its own."""
    common = pod["spec"].get("securityContext", {})
    own: dict[str, Any] = {**common, **container.get("securityContext", {})}
    capabilities = own.get("capabilities", {})
    wanted = {
        "privileged is set": not own.get("privileged"),
        "added capabilities": not capabilities.get("add"),
        "ALL is not dropped": capabilities.get("drop") == ["ALL"],
        "runAsUser is 0": own.get("runAsUser") != 0,
        "runAsNonRoot is not true": own.get("runAsNonRoot") is True,
        "allowPrivilegeEscalation is not false": own.get("allowPrivilegeEscalation") is False,
        "seccomp is not RuntimeDefault": own.get("seccompProfile", {}).get("type") == "RuntimeDefault",
        "a token is mounted": not [
            mount for mount in container.get("volumeMounts", []) if "serviceaccount" in mount["mountPath"]
        ],
    }
    return [f"container {container['name']}: {what}" for what, holds in wanted.items() if not holds]


@pytest.mark.demand(vcpus=4, memory_mib=2000, boots=5)
@pytest.mark.case("SEC-003")
def test_no_shape_of_vm_gives_its_pod_a_privilege(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: VMIs of five shapes: minimal, kernelBoot, PVC, cloud-init from a secret, two containerDisks.
    Steps: read the stored spec of each pod.
    Expected: no host path, host namespace, privilege, capability, root or token in any container.
    """
    faults = []
    for name, manifest in _shapes(space, cluster).items():
        space.create(manifest)
        pods = patience.eventually(
            f"VMI {name} has its pod", lambda name=name: space.pods(space.vmi(name)), bool  # type: ignore[misc]
        )
        pod = pods[0]
        containers = [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]
        found = _pod_faults(pod) + [fault for one in containers for fault in _container_faults(pod, one)]
        faults += [f"{name}: {fault}" for fault in found]
    assert not faults, "\n".join(faults)


# One line per process: pid, uids, gids, capability sets, NoNewPrivs, Seccomp, then the namespaces.
_READ = """
for pid in {pids}; do
  test -r /proc/$pid/status || continue
  printf '%s' $pid
  for key in Uid Gid CapEff CapPrm CapAmb CapBnd NoNewPrivs Seccomp; do
    printf '|%s' "$(awk -v key=$key: '$1==key {{sub(key, ""); gsub(/^[ \\t]+/, ""); print}}' /proc/$pid/status)"
  done
  for space in pid net ipc mnt uts; do printf '|%s' "$(readlink /proc/$pid/ns/$space)"; done
  echo
done
"""


@pytest.mark.case("SEC-004")
def test_processes_of_a_guest_have_nothing_to_give(warm_vm: WarmVm, nodes: Nodes) -> None:
    """
    Preconditions: a running VMI.
    Steps: read /proc of every process in its pod's containers, on the node.
    Expected: uid and gid 107, no capability in any set, no new privileges, seccomp filter, no namespace of the node.
    """
    space, vmi = warm_vm.space, warm_vm.vmi
    node = nodes[vmi["status"]["nodeName"]]
    processes = node.processes(space.pod(vmi)["metadata"]["uid"])
    # The sandbox's own process is the runtime's: it runs nothing of the pod and keeps the runtime's bounding set.
    mine = [process for process in processes if not (process.argv and process.argv[0].endswith("/pause"))]
    assert any(process.is_qemu for process in mine), mine
    host = [node.run(f"readlink /proc/1/ns/{space_}").strip() for space_ in ("pid", "net", "ipc", "mnt", "uts")]

    faults = []
    names = {str(process.pid): " ".join(process.argv)[:60] for process in mine}
    for line in node.run(_READ.format(pids=" ".join(names))).splitlines():
        pid, uids, gids, effective, permitted, ambient, bounding, no_new, seccomp, *spaces = line.split("|")
        values = {
            "uids": (set(uids.split()), {"107"}),
            "gids": (set(gids.split()), {"107"}),
            "CapEff": (int(effective, 16), 0),
            "CapPrm": (int(permitted, 16), 0),
            "CapAmb": (int(ambient, 16), 0),
            "CapBnd": (int(bounding, 16), 0),
            "NoNewPrivs": (no_new, "1"),
            "Seccomp": (seccomp, "2"),
            "shared namespaces": (set(spaces) & set(host), set()),
        }
        faults += [f"{pid} {names[pid]}: {what} is {seen}" for what, (seen, want) in values.items() if seen != want]
    assert not faults, "\n".join(faults)
