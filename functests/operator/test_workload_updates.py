"""Guests that follow an update of the product to launchers of its new image, and those that are left alone."""

from collections.abc import Iterable

import pytest

from functests.libs import build, growth, moves, patience, releases, settings
from functests.libs.build import Manifest
from functests.libs.cluster import Cluster
from functests.libs.kube import Object, Space, condition
from functests.libs.nodes import Nodes
from functests.libs.rest import core_path
from functests.libs.stack import Stack
from functests.libs.watch import Watch
from functests.libs.witness import Witness

pytestmark = [pytest.mark.serial, pytest.mark.disruptive, pytest.mark.needs("two-nodes"), pytest.mark.timeout(900)]

TAG = "functest-next"
IN_PROGRESS = {"Available": "True", "Progressing": "True", "Degraded": "True"}


def _wait_image(space: Space, name: str, wanted: tuple[str, bool]) -> None:
    patience.eventually(
        f"{name} has a launcher of the new image", lambda: _image(space, name), lambda seen: seen == wanted,
        within_s=patience.boots(4))


def _methods(*methods: str, **more: object) -> dict[str, object]:
    return {"workloadUpdateStrategy": {"workloadUpdateMethods": list(methods), **more}}


def _change(stack: Stack, spec: dict[str, object]) -> None:
    stack.rest.patch(settings.path(stack.rest), {"spec": spec}).ok()


def _image(space: Space, name: str) -> tuple[str, bool]:
    """The tag of the launcher's image, and whether the VMI is marked as outdated."""
    vmi = space.vmi(name)
    image = str(vmi["status"].get("launcherContainerImageVersion", ""))
    return image.rpartition(":")[2], growth.OUTDATED in vmi["metadata"].get("labels", {})


def _wait_marked(space: Space, stack: Stack, names: Iterable[str], count: int) -> None:
    for name in names:
        space.wait_vmi(name, lambda vmi: growth.OUTDATED in vmi["metadata"].get("labels", {}), "is marked as outdated")
    _wait_count(stack, count)


def _wait_count(stack: Stack, count: int) -> None:
    patience.eventually(
        f"{count} guests are counted as outdated",
        lambda: settings.kubevirt(stack.rest)["status"].get("outdatedVirtualMachineInstanceWorkloads"),
        lambda seen: seen == count)


def _was_updating(history: Iterable[Object]) -> bool:
    return any(
        {kind: condition(each, kind).get("status") for kind in IN_PROGRESS} == IN_PROGRESS
        and condition(each, "Degraded").get("reason") == "UpdateInProgress" for each in history)


@pytest.mark.demand(vcpus=2, memory_mib=1000, boots=2, seconds=200)
@pytest.mark.case("UPD-001")
@pytest.mark.case("UPD-002")
def test_guests_follow_an_update_once_that_is_asked_for(
    space: Space, cluster: Cluster, nodes: Nodes, stack: Stack
) -> None:
    """
    Preconditions: two running VMs with witnesses; nothing may be done to guests for an update.
    Steps: have the same images under another tag rolled out; then allow migrations.
    Expected: Available, Progressing and Degraded True meanwhile, UpdateInProgress; at the end the new version is
        observed, both guests are in the same pods, marked as outdated and counted, none migrates. Then one migration
        each moves them; launchers are of the new image, the mark is gone and the count 0; they noticed nothing.
    """
    names = ("one", "two")
    witnesses = {
        name: Witness(space.boot(build.vm_of(build.kernel_boot_vmi(cluster, name)))[1]) for name in names}
    before = {name: moves.home(space, nodes, name) for name in names}
    releases.tagged(cluster, TAG)
    with settings.changed(stack.rest, {"imageTag": TAG, **_methods()}):
        with Watch(stack.rest, settings.KUBEVIRTS) as watch:
            told = settings.wait_applied(stack.rest, within_s=240 + patience.boots(1))
            history = [seen for _, seen in watch.seen(told["metadata"]["name"])]
        assert _was_updating(history)
        assert told["status"]["observedKubeVirtVersion"] == TAG, told["status"]
        _wait_marked(space, stack, names, 2)
        patience.quiet("a guest is moved", lambda: moves.migrations(space), bool, for_s=10)
        assert {name: moves.home(space, nodes, name) for name in names} == before
        _change(stack, _methods("LiveMigrate"))
        for name in names:
            _wait_image(space, name, (TAG, False))
        made = {each["spec"]["vmiName"]: each["metadata"]["name"] for each in growth.migrations(space)}
        assert sorted(made) == sorted(names)
        assert len(moves.migrations(space)) == 2
        for name in names:
            assert made[name].startswith(growth.PREFIX), made
            moves.reach(space, made[name], "Succeeded")
            moves.check_moved(space, nodes, name, before[name], made[name])
            witnesses[name].shell = space.shell(name)
            witnesses[name].check(still_s=3)
        _wait_count(stack, 0)
        for name in names:                  # the way back is not their business
            space.delete_vm(name).ok()
    stack.wait_well()


def _on_claim(space: Space, cluster: Cluster, name: str) -> Manifest:
    """A VM that cannot leave its node: its disk is a claim of that node."""
    space.rest.post(core_path("persistentvolumeclaims", space.name), build.pvc(name)).ok()
    return build.vm_of(build.with_disk(
        build.kernel_boot_vmi(cluster, name), "data", {"persistentVolumeClaim": {"claimName": name}}))


@pytest.mark.demand(vcpus=3, memory_mib=1500, boots=6, seconds=300)
@pytest.mark.case("UPD-003")
@pytest.mark.case("UPD-004")
def test_what_cannot_move_is_evicted_in_batches(
    space: Space, cluster: Cluster, nodes: Nodes, stack: Stack
) -> None:
    """
    Preconditions: a VM that can move, two whose claims tie them to their nodes.
    Steps: roll out another tag with LiveMigrate alone; allow Evict too, one guest in 20 s; go back to the first images
        with Evict alone.
    Expected: the first VM moves, the two others are left and counted; then they are evicted, at least 20 s apart, and
        start anew on the new image; at last all three start anew, on the old one.
    """
    tied = ("fast", "firm")
    space.boot(build.vm_of(build.kernel_boot_vmi(cluster, "free")))
    for name in tied:
        space.boot(_on_claim(space, cluster, name))
    old = _image(space, "free")[0]
    uids = {name: space.vmi(name)["metadata"]["uid"] for name in ("free", *tied)}
    releases.tagged(cluster, TAG)
    with settings.changed(stack.rest, {"imageTag": TAG, **_methods("LiveMigrate")}):
        settings.wait_applied(stack.rest, within_s=240 + patience.boots(1))
        _wait_image(space, "free", (TAG, False))
        _wait_marked(space, stack, tied, 2)
        assert {name: space.vmi(name)["metadata"]["uid"] for name in uids} == uids
        _change(stack, _methods("LiveMigrate", "Evict", batchEvictionSize=1, batchEvictionInterval="20s"))
        for name in tied:
            space.wait_running(name, not_uid=uids[name], within_s=20 + patience.boots(4))
            assert _image(space, name) == (TAG, False)
        at = sorted(
            str(event["firstTimestamp"]) for name in tied for event in space.events(name)
            if event["reason"] == "SuccessfulEvict")
        assert len(at) == 2, at
        assert moves.seconds_between(*at) >= 19, f"evictions at {at}"      # times have whole seconds
        assert space.vmi("free")["metadata"]["uid"] == uids["free"]
        _wait_count(stack, 0)

        last = {name: space.vmi(name)["metadata"]["uid"] for name in uids}
        _change(stack, {"imageTag": None, **_methods("Evict", batchEvictionSize=10, batchEvictionInterval="1s")})
        settings.wait_applied(stack.rest, within_s=240 + patience.boots(1))
        for name in uids:
            space.wait_running(name, not_uid=last[name], within_s=patience.boots(4))
            assert _image(space, name) == (old, False)
        for name in uids:
            space.delete_vm(name).ok()
    stack.wait_well()
