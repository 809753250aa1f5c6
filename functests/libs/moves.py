"""Guests that move: how a migration is made and waited for, and what must hold when it is over.

What is claimed about a guest is asked of the guest (functests/libs/witness.py) and of the nodes' processes; the API's
fields are compared with that.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from functests.libs import launcher, patience
from functests.libs.kube import Object, Space
from functests.libs.nodes import Nodes
from functests.libs.rest import VMI, Answer, core_path, kubevirt_path
from functests.libs.witness import Witness

VMIM = "virtualmachineinstancemigrations"
POLICIES = "/apis/migrations.kubevirt.io/v1alpha1/migrationpolicies"
TARGET_LABEL = "kubevirt.io/migrationTargetNodeName"
NODE_LABEL = "kubevirt.io/nodeName"
FINAL = ("Succeeded", "Failed")
SHARES = (0.1, 0.5, 0.9)        # of the copy, at which something dies
# Annotations by which KubeVirt's own suite holds migrations up: of VMIs, the last one of a migration.
BLOCK = "kubevirt.io/func-test-block-migration-target-preparation"
FAIL = "kubevirt.io/func-test-force-launcher-migration-failure"
FAIL_FAST = "kubevirt.io/func-test-virt-launcher-fail-fast"
TARGET_IMAGE = "kubevirt.io/func-test-migration-target-image-override"
# libvirt counts MiB/s. An idle guest of 128 MiB has about 90 MiB to send: ten seconds at 8, never at 1 while it writes.
SLOW, HELD = "8Mi", "1Mi"
# Rewrites 24 MiB of random bytes twice a second or so, so that a slow migration never ends by itself. With pauses: the
# guests of other tests need the processors, too.
DIRTY = (
    "head -c 25165824 /dev/urandom > /run/dirty.a && "
    "{ setsid sh -c 'while :; do cat /run/dirty.a > /run/dirty.b; sleep 0.3; done' > /dev/null 2>&1 < /dev/null & }"
)


@dataclass(frozen=True)
class Home:
    """Where a guest is: its VMI's uid, its node, its pod, its QEMU's pid there."""

    uid: str
    node: str
    pod: str
    pod_uid: str
    qemu: int


def home(space: Space, nodes: Nodes, name: str) -> Home:
    """Of a VMI that runs and does not migrate now."""
    vmi = space.vmi(name)
    node = vmi["status"]["nodeName"]
    found = [
        pod for pod in space.pods(vmi)
        if pod["spec"].get("nodeName") == node and pod["status"]["phase"] not in FINAL
    ]
    assert len(found) == 1, f"{name}: live launcher pods on {node}: {[pod['metadata']['name'] for pod in found]}"
    meta = found[0]["metadata"]
    return Home(vmi["metadata"]["uid"], node, meta["name"], meta["uid"], nodes[node].qemu(meta["uid"]).pid)


def try_migrate(space: Space, name: str, migration: str = "move", **spec: Any) -> Answer:
    return space.rest.post(kubevirt_path(VMIM, space.name), {
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstanceMigration",
        "metadata": {"name": migration}, "spec": {"vmiName": name, **spec}})


def migrate(space: Space, name: str, migration: str = "move", **spec: Any) -> str:
    """A migration of the VMI ``name``; returns the migration's name."""
    try_migrate(space, name, migration, **spec).ok()
    return migration


def annotate(space: Space, name: str, annotation: str, value: str | None) -> None:
    """Of the VMI ``name``; None takes it away."""
    space.rest.patch(
        kubevirt_path(VMI, space.name, name), {"metadata": {"annotations": {annotation: value}}}).ok()


def migrations(space: Space) -> list[Object]:
    return list(space.rest.get(kubevirt_path(VMIM, space.name)).ok()["items"])


def get(space: Space, migration: str) -> Object | None:
    """None when there is none."""
    answer = space.rest.get(kubevirt_path(VMIM, space.name, migration))
    return None if answer.code == 404 else answer.ok()


def phase(migration: Object | None) -> str:
    return str((migration or {}).get("status", {}).get("phase", ""))


def state(vmi: Object) -> Object:
    """The VMI's migrationState, or {}."""
    return dict(vmi.get("status", {}).get("migrationState") or {})


def entered(migration: Object | None, phase: str) -> str:
    """When the migration came into the phase."""
    entries = (migration or {})["status"]["phaseTransitionTimestamps"]
    return str(next(entry["phaseTransitionTimestamp"] for entry in entries if entry["phase"] == phase))


def seconds_between(earlier: str, later: str) -> float:
    """Of two times as Kubernetes writes them."""
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


def reach(space: Space, migration: str, wanted: str, *, within_s: float | None = None) -> Object:
    """Until the migration is in the phase; one that is over in another way stops the wait at once."""
    seen = patience.eventually(
        f"migration {migration} is {wanted}",
        lambda: get(space, migration),
        lambda found: phase(found) == wanted,
        stop=lambda found: phase(found) in FINAL,
        within_s=within_s or patience.boots(3),
        every_s=0.1,
    )
    assert seen is not None
    return seen


def copied(space: Space, nodes: Nodes, at: Home, migration: str, share: float) -> None:
    """Until so much of the guest's memory has gone over, 0 to 1, as the source's libvirt tells. Of a busy guest, which
    does not leave meanwhile: what is left falls towards nothing in each pass over its memory."""
    reach(space, migration, "Running")
    source = launcher.Launcher(nodes[at.node], at.pod_uid)

    def gone() -> float:
        said = source.virsh("domjobinfo --rawstats")
        told = dict(re.findall(r"^data_(total|remaining)\s*:?\s+(\d+)$", said, re.MULTILINE))
        total = int(told.get("total", 0))
        return 1 - int(told.get("remaining", 0)) / total if total else 0.0

    patience.eventually(
        f"{share:.0%} of the guest are copied", gone, lambda found: found >= share, within_s=patience.boots(3),
        every_s=0.1)


def check_moved(
    space: Space, nodes: Nodes, name: str, before: Home, migration: str | Object, *, is_drained: bool = False
) -> Home:
    """The guest is on the other node and only there; returns its new home. The migration has succeeded already; one
    that may have been cleared away since is given as it was last seen. ``is_drained``: whoever drained the node has
    taken the finished pod of the source away too."""
    found = get(space, migration) if isinstance(migration, str) else migration
    assert found is not None
    assert phase(found) == "Succeeded", found["status"]
    vmi = space.vmi(name)
    status, told = vmi["status"], state(vmi)
    assert (status["phase"], vmi["metadata"]["uid"]) == ("Running", before.uid), status
    assert [entry["phase"] for entry in status["phaseTransitionTimestamps"]].count("Running") == 1, status
    target = status["nodeName"]
    assert target != before.node, f"{name} is still on {target}"
    assert vmi["metadata"]["labels"][NODE_LABEL] == target
    assert TARGET_LABEL not in vmi["metadata"]["labels"]
    assert told["completed"] is True, told
    assert not told.get("failed"), told
    assert (told["migrationUid"], told["sourceNode"], told["targetNode"]) == (
        found["metadata"]["uid"], before.node, target), told
    assert found["status"]["migrationState"] == told
    after = home(space, nodes, name)
    assert (after.node, after.pod) == (target, told["targetPod"])
    path = core_path("pods", space.name, before.pod)
    if is_drained:
        assert space.rest.get(path).code == 404, f"pod {before.pod} is still there"
    else:
        source = patience.eventually(
            "the source's pod has ended well", lambda: space.rest.get(path).ok(),
            lambda pod: pod["status"]["phase"] in FINAL, within_s=patience.promised(30))
        assert source["status"]["phase"] == "Succeeded", source["status"]
    check_clean(nodes, before)
    return after


def check_moves_after_all(space: Space, nodes: Nodes, before: Home, policy: str, witness: Witness) -> None:
    """The guest of a migration that came to nothing moves once the policy that held it is gone, and notices nothing."""
    space.rest.delete(f"{POLICIES}/{policy}").ok()
    migrate(space, "vm", "again")
    reach(space, "again", "Succeeded", within_s=patience.boots(4))
    check_moved(space, nodes, "vm", before, "again")
    witness.shell = space.shell("vm")
    witness.check(still_s=3)


def check_stayed(space: Space, nodes: Nodes, name: str, before: Home, *, handed_over: bool = True) -> str:
    """The guest goes on where it was, and nothing is left of the other side. Returns the reason that is told."""
    told = state(space.vmi(name))
    if handed_over:
        told = state(space.wait_vmi(name, lambda vmi: bool(state(vmi).get("completed")), "the migration is over"))
        assert told.get("failed") is True, told
        assert told["failureReason"], told
    patience.eventually(
        "the target's pod has gone",
        lambda: [pod["metadata"]["name"] for pod in space.pods(space.vmi(name))
                 if pod["metadata"]["uid"] != before.pod_uid and pod["status"]["phase"] not in FINAL],
        lambda left: not left, within_s=patience.promised(30))
    now = home(space, nodes, name)
    assert now == before, f"{before} became {now}"
    # The controller's next step, which nothing above waits for.
    patience.eventually(
        "the target's label is gone", lambda: space.vmi(name)["metadata"]["labels"],
        lambda labels: TARGET_LABEL not in labels, within_s=patience.promised(30))
    return str(told.get("failureReason", ""))


def check_clean(nodes: Nodes, left: Home) -> None:
    """No process of the pod is left on its node; what it had in its namespaces went with them."""
    patience.eventually(
        f"nothing of the pod is left on {left.node}",
        lambda: [" ".join(process.argv)[:80] for process in nodes[left.node].processes(left.pod_uid)],
        lambda found: not found, within_s=patience.promised(30))
