"""VMs that are deleted in other ways than alone and at rest."""

import random
from collections.abc import Iterator

import pytest

from functests.libs import build, patience
from functests.libs.cluster import Cluster
from functests.libs.guest import boot_id
from functests.libs.kube import Space
from functests.libs.nodes import Node, Nodes
from functests.libs.rest import VM, kubevirt_path

_OWN = "kubevirt.io/virtualMachineControllerFinalize"
_FOREIGN = "example.com/keep"


@pytest.mark.case("LIF-024")
def test_an_orphaned_instance_goes_on(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a running VM whose template has a word that Go's JSON escapes.
    Steps: delete the VM with propagation policy Orphan; then delete its VMI.
    Expected: the VM goes, the VMI has no owner and is the same boot; after the second deletion nothing is left.
    """
    escaped = {"spec": {"template": {"metadata": {"annotations": {"word": "<a> & b"}}}}}
    vmi, shell = space.boot(build.merged(build.vm_of(build.kernel_boot_vmi(cluster, "vm")), escaped))
    boot, pod = boot_id(shell), space.pod(vmi)["metadata"]["uid"]
    space.delete_vm("vm", {"propagationPolicy": "Orphan"}).ok()
    patience.eventually("the VM is gone", lambda: space.get_vm("vm"), lambda vm: vm is None)
    orphan = space.vmi("vm")
    assert orphan["metadata"]["uid"] == vmi["metadata"]["uid"]
    assert "ownerReferences" not in orphan["metadata"], orphan["metadata"]
    assert "deletionTimestamp" not in orphan["metadata"], orphan["metadata"]
    assert boot_id(shell) == boot

    space.delete_vmi("vm").ok()
    space.wait_vmi_gone("vm", within_s=patience.promised(40))
    node = nodes[vmi["status"]["nodeName"]]
    patience.eventually("nothing of the pod runs", lambda: node.processes(pod), lambda left: not left)


@pytest.mark.demand(seconds=50)
@pytest.mark.case("LIF-025")
def test_a_foreign_finalizer_keeps_the_vm_only(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a running Always VM with a finalizer of somebody else.
    Steps: delete it; after 30 s take the foreign finalizer off.
    Expected: the product's own finalizer goes, the foreign one stays; the VMI goes and none is made in 30 s; then the
        VM goes.
    """
    manifest = build.vm_of(build.kernel_boot_vmi(cluster, "vm"))
    space.boot(build.merged(manifest, {"metadata": {"finalizers": [_FOREIGN]}}))
    try:
        space.delete_vm("vm").ok()
        space.wait_vmi_gone("vm", within_s=patience.promised(40))
        vm = space.wait_vm("vm", lambda vm: _OWN not in vm["metadata"]["finalizers"], "lost the product's finalizer")
        assert vm["metadata"]["finalizers"] == [_FOREIGN], vm["metadata"]
        patience.quiet("a VMI was made", lambda: space.get_vmi("vm"), lambda seen: seen is not None, for_s=30)
        assert space.vm("vm")["metadata"]["finalizers"] == [_FOREIGN]
    finally:
        space.patch_vm("vm", {"metadata": {"finalizers": None}})
    patience.eventually("the VM is gone", lambda: space.get_vm("vm"), lambda vm: vm is None)
    assert space.get_vmi("vm") is None


@pytest.mark.demand(vcpus=2, memory_mib=800, boots=2)
@pytest.mark.case("LIF-028")
def test_a_namespace_goes_with_its_machines(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a namespace with a running, a paused and an unschedulable VM.
    Steps: delete the namespace.
    Expected: it is gone within 60 s, with it all that ran on the nodes.
    """
    uids = {}
    for name in ("running", "paused"):
        vmi, _ = space.boot(build.vm_of(build.kernel_boot_vmi(cluster, name)))
        uids[space.pod(vmi)["metadata"]["uid"]] = vmi["status"]["nodeName"]
    assert space.act_on_vmi("paused", "pause").code == 200
    space.wait_vm_status("paused", "Paused")
    space.create(build.vm_of(build.on_node(build.kernel_boot_vmi(cluster, "far"), "no-such-node")))
    space.wait_vm_status("far", "ErrorUnschedulable")

    space.rest.delete(f"/api/v1/namespaces/{space.name}").ok()
    patience.eventually(
        "the namespace is gone", lambda: space.rest.get(f"/api/v1/namespaces/{space.name}").code,
        lambda code: code == 404, within_s=patience.promised(60),
    )  # fmt: skip
    left = [process for uid, node in uids.items() for process in nodes[node].processes(uid)]
    assert not left, left
    assert space.rest.get(kubevirt_path(VM, space.name)).ok()["items"] == []


@pytest.mark.demand(vcpus=2, memory_mib=800, boots=4)
@pytest.mark.case("LIF-027")
def test_ten_machines_deleted_at_random_moments(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: none.
    Steps: create ten VMIs and delete each 0 to 1 s later, the seed is printed; then boot one on each worker.
    Expected: within 60 s no VMI and no pod, and on the nodes no process, mount or interface of any; the two boot.
    """
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    chance = random.Random(seed)
    names = [f"vm-{number}" for number in range(10)]
    uids = set()
    for name in names:
        space.try_create(build.kernel_boot_vmi(cluster, name)).ok()
        # How far it gets in that time is the chance: from no pod at all to a pod that starts.
        patience.quiet(
            "the VMI ended by itself", lambda name=name: space.get_vmi(name), _is_gone,  # type: ignore[misc]
            for_s=chance.random(), every_s=0.2,
        )  # fmt: skip
        uids |= {pod["metadata"]["uid"] for pod in space.rest.get(_pods(space)).ok()["items"]}
        space.delete_vmi(name).ok()
    patience.eventually(
        "VMIs and pods are gone",
        lambda: [name for name in names if space.get_vmi(name)] + space.rest.get(_pods(space)).ok()["items"],
        lambda left: not left,
        within_s=patience.promised(60),
    )
    patience.eventually(
        "the nodes are clean", lambda: [text for node in nodes for text in _left(node, uids)], lambda left: not left,
        within_s=patience.promised(20),
    )  # fmt: skip
    for node in cluster.workers:
        _, shell = space.boot(build.on_node(build.kernel_boot_vmi(cluster, f"on-{node}"), node))
        assert shell.succeed("echo $((6*7))") == "42"


def _is_gone(vmi: object) -> bool:
    return vmi is None


def _pods(space: Space) -> str:
    return f"/api/v1/namespaces/{space.name}/pods"


def _left(node: Node, uids: set[str]) -> Iterator[str]:
    """Processes and mounts of the pods on a node; a tap goes with the network namespace, which a process holds."""
    for uid in uids:
        yield from (f"{node.name}: {process}" for process in node.processes(uid))
        mounts = node.run(f"grep -c {uid} /proc/mounts || true").strip()
        if mounts != "0":
            yield f"{node.name}: {mounts} mounts of pod {uid}"
