"""Launchers of an older image on the fake API server: marked, counted, moved, evicted."""

from msgspec.structs import replace

from tests.virt.controller.rig import IMAGE, NAMESPACE, Rig, running
from tests.virt.controller.test_sizes import guest, kubevirt
from tests.virt.controller.test_volumes import jobs
from virt.api import core, names, v1
from virt.api.kinds import EVENT, KUBEVIRT, POD
from virt.kube.client import ApiError

OLDER = "registry:5000/virt-launcher:0"


def older(rig: Rig, pod: core.Pod, image: str = OLDER) -> None:
    """Its launcher is of that image."""
    known = rig.kube.peek(POD, pod.metadata.name, NAMESPACE)
    assert known is not None
    containers = tuple(replace(each, image=image) if each.name == "compute" else each for each in known.spec.containers)
    rig.kube.put(POD, replace(known, spec=replace(known.spec, containers=containers)))


def told(rig: Rig) -> tuple[bool, str, int | None]:
    """Whether the VMI is marked, its launcher's image, and the count of the KubeVirt object."""
    vmi, known = rig.vmi(), rig.kube.peek(KUBEVIRT, "kubevirt", "kubevirt")
    assert vmi is not None
    assert known is not None
    return (names.OUTDATED_LABEL in vmi.metadata.labels, vmi.status.launcher_container_image_version,
            known.status.outdated_virtual_machine_instance_workloads)


async def later(rig: Rig) -> None:
    """The next look at all guests."""
    await rig.settle()
    rig.clock.passed_s += 10
    known = rig.kube.peek(KUBEVIRT, "kubevirt", "kubevirt")
    assert known is not None
    rig.kube.put(KUBEVIRT, replace(known, metadata=replace(known.metadata, labels={"look": str(rig.clock.now())})))
    await rig.settle()


async def test_a_launcher_of_an_older_image_is_marked_and_counted_and_left_alone() -> None:
    async with running() as rig:
        pod = await guest(rig)
        await later(rig)
        assert told(rig) == (False, IMAGE, 0)
        older(rig, pod)
        await later(rig)
        assert told(rig) == (True, OLDER, 1)
        assert await jobs(rig) == ()
        older(rig, pod, IMAGE)
        await later(rig)
        assert told(rig) == (False, IMAGE, 0)


async def test_it_is_moved_once_all_components_are_there() -> None:
    async with running() as rig:
        pod = await guest(rig, "LiveMigrate")
        deploying = replace(kubevirt("LiveMigrate"), status=v1.KubeVirtStatus(
            phase="Deployed", target_deployment_id="y", observed_deployment_id="x"))
        rig.kube.put(KUBEVIRT, deploying)
        older(rig, pod)
        await later(rig)
        assert await jobs(rig) == ()
        rig.kube.put(KUBEVIRT, kubevirt("LiveMigrate"))
        await later(rig)
        await later(rig)
        (job,) = await jobs(rig)
        assert job.metadata.generate_name == "kubevirt-workload-update-"
        assert names.WORKLOAD_UPDATE_ANNOTATION in job.metadata.annotations
        target = next(each for each in (await rig.kube.list(POD, NAMESPACE)).items
                      if names.MIGRATION_JOB_UID_LABEL in each.metadata.labels)
        assert names.OUTDATED_LABEL not in target.metadata.labels


async def reasons(rig: Rig) -> set[str]:
    await rig.settle()
    return {event.reason for event in (await rig.kube.list(EVENT, NAMESPACE)).items}


async def test_it_is_evicted_where_that_is_all_that_may_be_done() -> None:
    async with running() as rig:
        pod = await guest(rig, "Evict")
        older(rig, pod)
        rig.kube.fail("evict", "pods", ApiError(429, "TooManyRequests", "no"))
        await later(rig)
        await later(rig)
        assert "FailedEvict" in await reasons(rig)
        rig.clock.passed_s += 60
        await later(rig)
        assert [call.name for call in rig.kube.writes if call.verb == "evict"] == [pod.metadata.name]
        assert "SuccessfulEvict" in await reasons(rig)
        assert await jobs(rig) == ()
