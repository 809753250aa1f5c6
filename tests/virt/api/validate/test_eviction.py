import pytest

from virt.api import core, names, v1
from virt.api.validate.eviction import ALLOWED, Verdict, judge

OWNER = core.OwnerReference(kind="VirtualMachineInstance", name="x", uid="u", controller=True)


def pod(*, node: str = "a", phase: str = "Running", app: str = "virt-launcher", owner: str = "u") -> core.Pod:
    return core.Pod(
        metadata=core.ObjectMeta(
            name="virt-launcher-x", namespace="n", labels={names.APP_LABEL: app},
            annotations={names.DOMAIN_ANNOTATION: "x"},
            owner_references=(OWNER,) if owner == "u" else ()),
        spec=core.PodSpec(node_name=node), status=core.PodStatus(phase=phase))


def vmi(
    strategy: str | None, *, migratable: str = "True", marked: str = "", phase: str = "Running"
) -> v1.VirtualMachineInstance:
    condition = v1.Condition(type="LiveMigratable", status=migratable)
    return v1.VirtualMachineInstance(
        metadata=core.ObjectMeta(name="x", namespace="n", uid="u"),
        spec=v1.VirtualMachineInstanceSpec(eviction_strategy=strategy),
        status=v1.VirtualMachineInstanceStatus(
            phase=phase, node_name="a", evacuation_node_name=marked, conditions=(condition,)))


TRIGGERED = Verdict('Eviction triggered evacuation of VMI "n/x"', marks=True)


@pytest.mark.parametrize(("asked", "machine", "default", "expected"), [
    (pod(), vmi("LiveMigrate"), "None", TRIGGERED),
    (pod(), vmi("LiveMigrateIfPossible"), "None", TRIGGERED),
    (pod(), vmi("External", migratable="False"), "None", TRIGGERED),
    (pod(), vmi(None), "LiveMigrate", TRIGGERED),
    (pod(), vmi("None"), "LiveMigrate", ALLOWED),
    (pod(), vmi(None), "None", ALLOWED),
    (pod(), vmi("LiveMigrate", migratable="False"), "None",
     Verdict('VMI "n/x" is configured with an eviction strategy but is not live-migratable')),
    (pod(), vmi("LiveMigrateIfPossible", migratable="False"), "None", ALLOWED),
    (pod(), vmi("LiveMigrate", marked="a"), "None",
     Verdict('Evacuation in progress: VMI "n/x" is to leave node a')),
    (pod(node="b"), vmi("LiveMigrate"), "None",
     Verdict('Eviction request for target Pod of VMI "n/x": the guest is on its way there')),
    (pod(phase="Succeeded"), vmi("LiveMigrate"), "None", ALLOWED),
    (pod(app="other"), vmi("LiveMigrate"), "None", ALLOWED),
    (pod(owner="earlier"), vmi("LiveMigrate"), "None", ALLOWED),
    (pod(), vmi("LiveMigrate", phase="Failed"), "None", ALLOWED),
    (pod(), None, "LiveMigrate", ALLOWED),
])
def test_what_an_eviction_is_answered(
    asked: core.Pod, machine: v1.VirtualMachineInstance | None, default: str, expected: Verdict
) -> None:
    assert judge(asked, machine, default) == expected
