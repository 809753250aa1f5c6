"""VirtualMachine: a guest that may be off, and the strategy by which it runs."""

from collections.abc import Mapping

from virt.api.core.meta import ObjectMeta
from virt.api.v1.condition import Condition
from virt.api.v1.instance import VirtualMachineInstanceSpec
from virt.api.v1.status import StorageMigratedVolumeInfo
from virt.api.wire import JsonObject, Wire, always


class VirtualMachineInstanceTemplateSpec(Wire):
    metadata: ObjectMeta = ObjectMeta()
    spec: VirtualMachineInstanceSpec = VirtualMachineInstanceSpec()


class DataVolumeTemplateSpec(Wire):
    metadata: ObjectMeta = ObjectMeta()
    spec: JsonObject = {}


class InstancetypeMatcher(Wire):
    """``name`` or ``infer_from_volume``."""

    name: str = ""
    kind: str = ""
    revision_name: str = ""
    infer_from_volume: str = ""
    infer_from_volume_failure_policy: str | None = None


class PreferenceMatcher(InstancetypeMatcher):
    """``name`` or ``infer_from_volume``."""


class VirtualMachineSpec(Wire):
    """Exactly one of ``run_strategy`` (Always, Halted, Manual, RerunOnFailure, Once) and ``running`` (deprecated)."""

    run_strategy: str | None = None
    running: bool | None = None
    template: VirtualMachineInstanceTemplateSpec | None = None
    data_volume_templates: tuple[DataVolumeTemplateSpec, ...] = ()
    instancetype: InstancetypeMatcher | None = None
    preference: PreferenceMatcher | None = None
    update_volumes_strategy: str | None = None

    @property
    def strategy(self) -> str:
        """The run strategy in force; ``running`` says Always or Halted."""
        return self.run_strategy or ("Always" if self.running else "Halted")


class VirtualMachineStateChangeRequest(Wire):
    """``action``: Start or Stop; ``data``: {"paused": "true"}; ``uid``: of the VMI to stop."""

    action: str = ""
    data: Mapping[str, str] = {}
    uid: str | None = None


class VirtualMachineStartFailure(Wire):
    consecutive_fail_count: int = 0
    last_failed_vmi_uid: str = ""
    retry_after_timestamp: str | None = None


class VolumeSnapshotStatus(Wire):
    name: str = ""
    enabled: bool = always(False)
    reason: str = ""


class MemoryDumpRequest(Wire):
    claim_name: str = ""
    phase: str = ""
    remove: bool = False
    start_timestamp: str | None = None
    end_timestamp: str | None = None
    file_name: str | None = None
    message: str = ""


class ControllerRevisionRef(Wire):
    name: str = ""


class InstancetypeStatusRef(Wire):
    name: str = ""
    kind: str = ""
    controller_revision_ref: ControllerRevisionRef | None = None
    infer_from_volume: str = ""
    infer_from_volume_failure_policy: str | None = None


class VolumeMigrationState(Wire):
    """A change of claims that has been begun and not ended, well or otherwise."""

    migrated_volumes: tuple[StorageMigratedVolumeInfo, ...] = ()


class VolumeUpdateState(Wire):
    volume_migration_state: VolumeMigrationState | None = None


class VirtualMachineStatus(Wire):
    """``created`` and ``ready`` are absent on the wire when false: clients test for the key."""

    created: bool = False
    ready: bool = False
    printable_status: str = ""
    conditions: tuple[Condition, ...] = ()
    state_change_requests: tuple[VirtualMachineStateChangeRequest, ...] = ()
    start_failure: VirtualMachineStartFailure | None = None
    run_strategy: str = ""
    observed_generation: int = 0
    desired_generation: int = 0
    volume_requests: tuple[JsonObject, ...] = ()
    volume_snapshot_statuses: tuple[VolumeSnapshotStatus, ...] = ()
    snapshot_in_progress: str | None = None
    restore_in_progress: str | None = None
    memory_dump_request: MemoryDumpRequest | None = None
    volume_update_state: VolumeUpdateState | None = None
    instancetype_ref: InstancetypeStatusRef | None = None
    preference_ref: InstancetypeStatusRef | None = None


class VirtualMachine(Wire):
    api_version: str = always("kubevirt.io/v1")
    kind: str = always("VirtualMachine")
    metadata: ObjectMeta = ObjectMeta()
    spec: VirtualMachineSpec = VirtualMachineSpec()
    status: VirtualMachineStatus = VirtualMachineStatus()
