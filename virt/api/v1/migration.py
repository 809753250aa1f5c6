"""VirtualMachineInstanceMigration: the wish to move a VMI to another node."""

from collections.abc import Mapping

from virt.api.core.meta import ObjectMeta
from virt.api.v1.condition import Condition, PhaseTransitionTimestamp
from virt.api.v1.migrationstate import VirtualMachineInstanceMigrationState
from virt.api.wire import JsonObject, Wire, always


class VirtualMachineInstanceMigrationSpec(Wire):
    vmi_name: str = ""
    added_node_selector: Mapping[str, str] = {}
    priority: str | None = None
    send_to: JsonObject | None = None
    receive: JsonObject | None = None


class VirtualMachineInstanceMigrationStatus(Wire):
    """``phase``: "", Pending, Scheduling, Scheduled, PreparingTarget, TargetReady, Running, Succeeded, Failed."""

    phase: str = ""
    conditions: tuple[Condition, ...] = ()
    phase_transition_timestamps: tuple[PhaseTransitionTimestamp, ...] = ()
    migration_state: VirtualMachineInstanceMigrationState | None = None


class VirtualMachineInstanceMigration(Wire):
    api_version: str = always("kubevirt.io/v1")
    kind: str = always("VirtualMachineInstanceMigration")
    metadata: ObjectMeta = ObjectMeta()
    spec: VirtualMachineInstanceMigrationSpec = VirtualMachineInstanceMigrationSpec()
    status: VirtualMachineInstanceMigrationStatus = VirtualMachineInstanceMigrationStatus()
