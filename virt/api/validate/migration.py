"""VirtualMachineInstanceMigrations: rules 102 to 105 of the specification."""

from virt.api import conditions, names, phases, unbuilt, v1
from virt.api.status import Status, StatusCause, failure
from virt.api.validate.causes import Causes, invalid, required


def create(migration: v1.VirtualMachineInstanceMigration, *, by_component: bool = False) -> tuple[StatusCause, ...]:
    """What is wrong with a new migration in itself."""
    def causes() -> Causes:
        if not migration.spec.vmi_name:
            yield required("spec.vmiName", "vmiName is missing")
        if migration.spec.priority is not None and not by_component:
            yield invalid("spec.migrationPriority", "only the migration controller may set the priority of a migration")
        yield from unbuilt.migration_spec("spec", migration.spec)
    return tuple(causes())


def refusal(
    migration: v1.VirtualMachineInstanceMigration,
    vmi: v1.VirtualMachineInstance | None,
    others: tuple[v1.VirtualMachineInstanceMigration, ...],
) -> Status | None:
    """Whether the VMI can be migrated now. ``others``: all migrations of that VMI. None means yes."""
    name = f"{migration.metadata.namespace}/{migration.spec.vmi_name}"
    if vmi is None:
        return failure(400, f"the VMI {name!r} does not exist")
    if vmi.status.phase in phases.FINAL:
        return failure(400, f"Cannot migrate VMI in finalized state: {name} is {vmi.status.phase}.")
    migratable = conditions.find(vmi.status.conditions, "LiveMigratable")
    if migratable is not None and migratable.status == "False":
        return failure(400, f"Cannot migrate VMI, Reason: {migratable.reason}, Message: {migratable.message}")
    for other in others:
        if other.metadata.name != migration.metadata.name and other.status.phase not in phases.FINAL:
            return failure(400, f"in-flight migration detected. Active migration job ({other.metadata.uid}) is "
                                f"currently already in progress for VMI {migration.spec.vmi_name}.")
    return None


def update(
    old: v1.VirtualMachineInstanceMigration, new: v1.VirtualMachineInstanceMigration
) -> tuple[StatusCause, ...]:
    def causes() -> Causes:
        if old.spec != new.spec:
            yield invalid("spec", "update of Migration object's spec is restricted")
        label = names.MIGRATION_VMI_LABEL
        if new.status.phase not in phases.FINAL and old.metadata.labels.get(label) != new.metadata.labels.get(label):
            yield invalid("metadata.labels", f"cannot remove or change selector label {label} from in-flight migration")
    return tuple(causes())
