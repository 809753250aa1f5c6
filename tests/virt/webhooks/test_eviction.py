"""Evictions as kube-apiserver asks about them, with the VMI that is marked."""

from msgspec.structs import replace

from tests.fakes.clock import FakeClock
from tests.fakes.kube import FakeKube
from tests.virt.api.validate.test_eviction import pod, vmi
from virt.api import core, kinds, names, v1
from virt.api.admission import AdmissionRequest, AdmissionReview
from virt.api.clusterconfig import ClusterConfig
from virt.api.wire import JsonObject
from virt.kube.client import ConflictError
from virt.webhooks import eviction
from virt.webhooks.review import Context


async def asked(
    kube: FakeKube, *, name: str = "virt-launcher-x", dry_run: bool = False, eviction_of: JsonObject | None = None
) -> AdmissionReview:
    context = Context(kube, "kubevirt", ClusterConfig, FakeClock(), lambda: "u")
    request = AdmissionRequest(
        uid="r", name=name, namespace="n", operation="CREATE", dry_run=dry_run, object=eviction_of)
    return await eviction.pod_eviction(request, context)


def cluster(machine: v1.VirtualMachineInstance, launcher: core.Pod) -> FakeKube:
    return FakeKube((kinds.VMI, machine), (kinds.POD, launcher))


def marked(kube: FakeKube) -> str:
    found = kube.peek(kinds.VMI, "x", "n")
    assert found is not None
    return found.status.evacuation_node_name


async def test_a_vmi_that_can_move_is_marked_and_its_pod_stays() -> None:
    kube = cluster(vmi("LiveMigrate"), pod())
    answer = (await asked(kube)).response
    assert answer is not None
    assert answer.status is not None
    assert (answer.allowed, answer.status.code, answer.status.reason) == (False, 429, "TooManyRequests")
    assert answer.status.message == 'Eviction triggered evacuation of VMI "n/x"'
    assert marked(kube) == "a"
    again = (await asked(kube)).response
    assert again is not None
    assert again.status is not None
    assert "Evacuation in progress" in again.status.message


async def test_who_asked_is_kept_beside_the_mark() -> None:
    def source(kube: FakeKube) -> str | None:
        found = kube.peek(kinds.VMI, "x", "n")
        assert found is not None
        return found.metadata.annotations.get(names.EVICTION_SOURCE_ANNOTATION)

    machine = vmi("LiveMigrate")
    by_descheduler: JsonObject = {"metadata": {"annotations": {"requested-by": "sigs.k8s.io/descheduler"}}}
    kube = cluster(machine, pod())
    await asked(kube, eviction_of=by_descheduler)
    assert (marked(kube), source(kube)) == ("a", "descheduler")
    told = {names.EVICTION_SOURCE_ANNOTATION: "descheduler", "kept": "x"}
    kube = cluster(replace(machine, metadata=replace(machine.metadata, annotations=told)), pod())
    for odd in ({"metadata": {"annotations": {"requested-by": "somebody"}}}, {"metadata": None}):
        await asked(kube, eviction_of=odd)
        assert (marked(kube), source(kube)) == ("a", None)
    found = kube.peek(kinds.VMI, "x", "n")
    assert found is not None
    assert found.metadata.annotations == {"kept": "x"}


async def test_a_dry_run_marks_nothing() -> None:
    kube = cluster(vmi("LiveMigrate"), pod())
    by_options: JsonObject = {"deleteOptions": {"dryRun": ["All"]}}             # as kubectl drain asks
    for answer in (await asked(kube, dry_run=True), await asked(kube, eviction_of=by_options)):
        assert answer.response is not None
        assert not answer.response.allowed
        assert marked(kube) == ""


async def test_a_lost_race_is_looked_at_again() -> None:
    kube = cluster(vmi("LiveMigrate"), pod())
    kube.fail("patch", "virtualmachineinstances", ConflictError(409, "Conflict", "changed"))
    answer = (await asked(kube)).response
    assert answer is not None
    assert not answer.allowed
    assert marked(kube) == "a"


async def test_others_are_let_go() -> None:
    for machine, launcher in ((vmi("None"), pod()), (vmi("LiveMigrate"), pod(app="other")),
                              (replace(vmi("LiveMigrate"), metadata=core.ObjectMeta(name="y", namespace="n")), pod())):
        answer = (await asked(cluster(machine, launcher))).response
        assert answer is not None
        assert answer.allowed
    gone = (await asked(FakeKube())).response
    assert gone is not None
    assert gone.allowed


def attachment(launcher: core.Pod) -> core.Pod:
    """The pod that mounts hot-plugged claims for ``launcher``."""
    owner = core.OwnerReference(
        api_version="v1", kind="Pod", name=launcher.metadata.name, uid=launcher.metadata.uid, controller=True)
    return core.Pod(metadata=core.ObjectMeta(
        name="hp-volume-x", namespace="n", uid="hp", owner_references=(owner,),
        labels={names.APP_LABEL: names.HOTPLUG_DISK}, annotations={names.DOMAIN_ANNOTATION: "x"}))


async def test_a_pod_with_the_guests_disks_stays_and_the_guest_is_marked() -> None:
    for strategy, mark in (("LiveMigrate", "a"), ("None", "")):
        kube = cluster(vmi(strategy), pod())
        launcher = kube.peek(kinds.POD, "virt-launcher-x", "n")
        assert launcher is not None
        kube.put(kinds.POD, attachment(launcher))
        answer = (await asked(kube, name="hp-volume-x")).response
        assert answer is not None
        assert answer.status is not None
        assert (answer.allowed, answer.status.code) == (False, 429)
        assert answer.status.message.startswith("cannot evict hotplug pod: hp-volume-x")
        assert marked(kube) == mark


async def test_it_goes_with_its_launcher() -> None:
    launcher = pod()
    launcher = replace(launcher, metadata=replace(launcher.metadata, uid="l"))
    ended = replace(launcher, status=replace(launcher.status, phase="Succeeded"))
    for there in ((), ((kinds.POD, ended),)):
        kube = FakeKube((kinds.VMI, vmi("LiveMigrate")), (kinds.POD, attachment(launcher)), *there)
        answer = (await asked(kube, name="hp-volume-x")).response
        assert answer is not None
        assert answer.allowed
