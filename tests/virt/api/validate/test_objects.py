"""Rules beyond the spec: what makes a VM, who may change a VMI, when a migration may start."""

from typing import Any

import pytest
from msgspec.structs import replace

from tests.virt.api.generated import instance, instance_document
from virt.api import codec, core, defaults, names, v1
from virt.api.clusterconfig import ClusterConfig
from virt.api.status import REQUIRED
from virt.api.validate import instance as rules
from virt.api.validate import machine, migration

CONFIG = ClusterConfig()


def vm(**spec: Any) -> v1.VirtualMachine:
    template = {"spec": instance_document()["spec"]}
    return codec.from_json({"spec": {"template": template, **spec}}, v1.VirtualMachine)


@pytest.mark.parametrize(("spec", "fields"), [
    ({"runStrategy": "Always"}, []),
    ({"running": True}, []),
    ({"runStrategy": "Always", "running": True}, ["spec.running"]),
    ({}, ["spec.running"]),
    ({"runStrategy": "Sometimes"}, ["spec.runStrategy"]),
    ({"runStrategy": "Always", "template": None}, ["spec.template"]),
    ({"runStrategy": "Always", "instancetype": {"name": "small"}}, ["spec.instancetype"]),
    ({"runStrategy": "Always", "updateVolumesStrategy": "Later"}, ["spec.updateVolumesStrategy"]),
])
def test_vm(spec: dict[str, Any], fields: list[str]) -> None:
    assert [cause.field for cause in machine.create(vm(**spec), CONFIG)] == fields


@pytest.mark.parametrize("label", names.RESERVED_LABELS)
def test_a_template_may_not_bring_the_components_labels(label: str) -> None:
    """The controller creates the VMI in its own name, so nobody asks again there."""
    def labelled(**labels: str) -> v1.VirtualMachine:
        return codec.from_json({"spec": {"runStrategy": "Halted", "template": {
            "metadata": {"labels": labels}, "spec": instance_document()["spec"]}}}, v1.VirtualMachine)

    plain, forged = labelled(app="x"), labelled(app="x", **{label: "y"})
    assert machine.create(plain, CONFIG) == ()
    for causes in (machine.create(forged, CONFIG), machine.update(plain, forged, CONFIG)):
        (cause,) = causes
        assert (cause.field, label in cause.message) == ("spec.template.metadata.labels", True)
    assert machine.update(forged, replace(forged, metadata=core.ObjectMeta(labels={"a": "b"})), CONFIG) == ()


def test_a_vm_without_memory_is_admitted_and_its_vmi_is_not() -> None:
    document = instance_document()
    del document["spec"]["domain"]["resources"]
    template = {"spec": document["spec"]}
    assert machine.create(vm(runStrategy="Always", template=template), CONFIG) == ()
    vmi = defaults.instance(codec.from_json(document, v1.VirtualMachineInstance), CONFIG, now="", uuid="")
    (cause,) = rules.create(vmi, CONFIG)
    assert (cause.reason, cause.field, cause.message) == (REQUIRED, "", "no memory requested")


def test_running_is_warned_about() -> None:
    assert "runStrategy" in machine.warnings(vm(running=False))[0]
    assert machine.warnings(vm(runStrategy="Halted")) == ()


def test_an_old_fault_does_not_block_other_changes_of_a_vm() -> None:
    old = vm()
    labelled = replace(old, metadata=core.ObjectMeta(labels={"a": "b"}))
    assert machine.update(old, labelled, CONFIG) == ()
    assert machine.update(old, vm(runStrategy="Sometimes"), CONFIG) != ()


def test_a_vm_with_an_old_fault_can_be_switched_off() -> None:
    old, new = (vm(runStrategy=strategy, preference={"name": "p"}) for strategy in ("Always", "Halted"))
    assert machine.update(old, new, CONFIG) == ()
    changed = vm(runStrategy="Halted", preference={"name": "q"})
    assert [cause.field for cause in machine.update(old, changed, CONFIG)] == ["spec.preference"]


def test_a_vm_being_deleted_can_lose_its_finalizers() -> None:
    deleted = replace(vm(), metadata=core.ObjectMeta(deletion_timestamp="t"))
    assert machine.update(vm(runStrategy="Always"), deleted, CONFIG) == ()


def test_a_restore_keeps_the_vm_off() -> None:
    status = v1.VirtualMachineStatus(restore_in_progress="r")
    old, new = (replace(vm(runStrategy=strategy), status=status) for strategy in ("Halted", "Always"))
    assert [cause.field for cause in machine.update(old, new, CONFIG)] == ["spec.runStrategy"]


def test_a_snapshot_keeps_the_spec() -> None:
    status = v1.VirtualMachineStatus(snapshot_in_progress="s")
    old, new = (replace(vm(runStrategy=strategy), status=status) for strategy in ("Always", "Halted"))
    assert [cause.field for cause in machine.update(old, new, CONFIG)] == ["spec"]


def test_a_migration_to_another_cluster_is_not_built() -> None:
    assert migration.create(vmim()) == ()
    (cause,) = migration.create(vmim(send_to={"migrationID": "x"}))
    assert (cause.field, "not supported yet" in cause.message) == ("spec.sendTo", True)


def test_only_components_change_the_spec_of_a_vmi() -> None:
    old = instance()
    new = replace(old, spec=replace(old.spec, hostname="other"))
    (cause,) = rules.update(old, new)
    assert (cause.field, cause.message) == ("spec", "update of VMI object is restricted")


@pytest.mark.parametrize("label", names.RESERVED_LABELS)
def test_reserved_labels_are_for_components(label: str) -> None:
    old = instance()
    new = replace(old, metadata=replace(old.metadata, labels={label: "x"}))
    for causes in (rules.create(new, CONFIG), rules.update(old, new), rules.update(new, old)):
        assert "metadata.labels" in [cause.field for cause in causes]
        assert any(label in cause.message for cause in causes)
    assert "metadata.labels" not in [cause.field for cause in rules.create(new, CONFIG, by_component=True)]


def test_other_labels_of_a_vmi_are_free() -> None:
    old = instance()
    assert rules.update(old, replace(old, metadata=core.ObjectMeta(labels={"a": "b"}))) == ()


def vmim(name: str = "m", phase: str = "", **spec: Any) -> v1.VirtualMachineInstanceMigration:
    return v1.VirtualMachineInstanceMigration(
        metadata=core.ObjectMeta(name=name, namespace="ns", uid=f"uid-{name}", labels={names.MIGRATION_VMI_LABEL: "g"}),
        spec=v1.VirtualMachineInstanceMigrationSpec(vmi_name="g", **spec),
        status=v1.VirtualMachineInstanceMigrationStatus(phase=phase),
    )


def test_a_migration_needs_a_vmi_name_and_leaves_the_priority_alone() -> None:
    fields = [cause.field for cause in migration.create(v1.VirtualMachineInstanceMigration())]
    assert fields == ["spec.vmiName"]
    urgent = vmim(priority="system-critical")
    assert "spec.migrationPriority" in [cause.field for cause in migration.create(urgent)]
    assert "spec.migrationPriority" not in [cause.field for cause in migration.create(urgent, by_component=True)]


def vmi_in(phase: str, *conditions: v1.Condition) -> v1.VirtualMachineInstance:
    return v1.VirtualMachineInstance(status=v1.VirtualMachineInstanceStatus(phase=phase, conditions=conditions))


@pytest.mark.parametrize(("vmi", "others", "message"), [
    (None, (), "'ns/g' does not exist"),
    (vmi_in("Succeeded"), (), "finalized"),
    (vmi_in("Running", v1.Condition(type="LiveMigratable", status="False", reason="DisksNotLiveMigratable")), (),
     "DisksNotLiveMigratable"),
    (vmi_in("Running"), (vmim("other", "Running"),), "uid-other"),
])
def test_a_migration_that_cannot_start(
    vmi: v1.VirtualMachineInstance | None, others: tuple[v1.VirtualMachineInstanceMigration, ...], message: str
) -> None:
    refusal = migration.refusal(vmim(), vmi, others)
    assert refusal is not None
    assert refusal.code == 400
    assert message in refusal.message


def test_finished_migrations_and_itself_do_not_hinder() -> None:
    assert migration.refusal(vmim(), vmi_in("Running"), (vmim(), vmim("old", "Failed"))) is None


def test_a_migration_keeps_its_spec_and_while_in_flight_its_label() -> None:
    unlabelled = replace(vmim(phase="Running"), metadata=core.ObjectMeta())
    assert [cause.field for cause in migration.update(vmim(), unlabelled)] == ["metadata.labels"]
    assert migration.update(vmim(), replace(unlabelled, status=vmim(phase="Failed").status)) == ()
    changed = vmim(added_node_selector={"a": "b"})
    assert [cause.field for cause in migration.update(vmim(), changed)] == ["spec"]
