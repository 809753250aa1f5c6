"""Guests that get other claims while they run: how that is asked for, and what must hold when it is over.

The disks are vol1, vol2 ... of a guest without any other disk, so vol1 is /dev/vda.
"""

from collections.abc import Collection, Mapping
from typing import Any

from functests.libs import build, moves, patience
from functests.libs.build import Manifest
from functests.libs.cluster import Cluster
from functests.libs.kube import Object, Space, condition
from functests.libs.moves import Home
from functests.libs.nodes import Nodes
from functests.libs.rest import core_path

LABEL, ANNOTATION = "kubevirt.io/volume-update-migration", "kubevirt.io/workloadUpdateMigration"
CHANGE = "VolumesChange"


def make_claims(space: Space, *names: str, **claim: str) -> None:
    for name in names:
        space.rest.post(core_path("persistentvolumeclaims", space.name), build.pvc(name, **claim)).ok()


def machine(cluster: Cluster, *claims: str, **disk: Any) -> Manifest:
    """A VM with one disk for each claim, in this order, that has its claims changed while it runs."""
    vmi = build.kernel_boot_vmi(cluster, "vm")
    for number, claim in enumerate(claims, 1):
        vmi = build.with_disk(vmi, f"vol{number}", {"persistentVolumeClaim": {"claimName": claim}}, **disk)
    return build.merged(build.vm_of(vmi), {"spec": {"updateVolumesStrategy": "Migration"}})


def change(space: Space, *claims: str) -> None:
    """Give the template these claims, for vol1, vol2 ... in one patch."""
    volumes = [{"name": f"vol{number}", "persistentVolumeClaim": {"claimName": claim}}
               for number, claim in enumerate(claims, 1)]
    space.patch_vm("vm", {"spec": {"template": {"spec": {"volumes": volumes}}}}).ok()


def claims_of(vmi: Object) -> list[str]:
    return [volume["persistentVolumeClaim"]["claimName"] for volume in vmi["spec"]["volumes"]]


def migrations(space: Space) -> list[Object]:
    """Those that bring the guest to other claims, oldest first."""
    found = [each for each in moves.migrations(space) if LABEL in each["metadata"].get("labels", {})]
    return sorted(found, key=lambda each: str(each["metadata"]["creationTimestamp"]))


def next_migration(space: Space, known: Collection[str] = (), *, within_s: float | None = None) -> str:
    """Until there is one that is not known; its name."""
    found = patience.eventually(
        "a migration to the new claims is made",
        lambda: [each for each in migrations(space) if each["metadata"]["name"] not in known], bool, within_s=within_s)
    return str(found[0]["metadata"]["name"])


def users(space: Space, claim: str) -> list[str]:
    """Pods that live and have the claim."""
    return [
        pod["metadata"]["name"] for pod in space.rest.get(core_path("pods", space.name)).ok()["items"]
        if pod["status"]["phase"] not in moves.FINAL and any(
            (volume.get("persistentVolumeClaim") or {}).get("claimName") == claim for volume in pod["spec"]["volumes"])
    ]


def check_changed(
    space: Space, nodes: Nodes, before: Home, claims: Mapping[str, str], known: Collection[str] = ()
) -> Home:
    """``claims``: old -> new. One migration brings the guest to the new ones, and all are told that it has; its new
    home."""
    name = next_migration(space, known)
    moves.reach(space, name, "Succeeded", within_s=patience.boots(4))
    after = moves.check_moved(space, nodes, "vm", before, name)
    vmi = space.vmi("vm")
    assert set(claims.values()) <= set(claims_of(vmi)), vmi["spec"]["volumes"]
    assert not vmi["status"].get("migratedVolumes"), vmi["status"]
    assert condition(vmi, CHANGE) == {}, vmi["status"]["conditions"]
    told = [status["persistentVolumeClaimInfo"]["claimName"] for status in vmi["status"]["volumeStatus"]]
    assert told == claims_of(vmi), vmi["status"]["volumeStatus"]
    pod = space.rest.get(core_path("pods", space.name, after.pod)).ok()
    for old, new in claims.items():
        assert users(space, old) == []
        assert users(space, new) == [pod["metadata"]["name"]]
    vm = space.wait_vm(
        "vm", lambda vm: not vm["status"].get("volumeUpdateState", {}).get("volumeMigrationState"),
        "the change is over for the VM too")
    assert condition(vm, "RestartRequired") == {}, vm["status"]["conditions"]
    assert condition(vm, "ManualRecoveryRequired") == {}, vm["status"]["conditions"]
    assert sorted(each["metadata"]["name"] for each in migrations(space)) == sorted({*known, name})
    return after
