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
