"""Start, stop and restart of a VirtualMachine: what is written, or why not. Pure.

The rules are those of KubeVirt (pkg/virt-api/rest/lifecycle.go); one is stricter: a refused stop writes nothing at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from virt.api import codec, conditions, kinds, v1
from virt.api.jsonpatch import Operation, add, pointer, remove, test
from virt.api.kinds import Kind
from virt.api.phases import FINAL
from virt.api.subresources import RestartOptions, StartOptions, StopOptions
from virt.apiserver.refusal import bad_request, conflict, internal
from virt.kube.http import RefusedError

FORCED_GRACE_S = 1          # "kill at once" still lets the launcher close its disks
_RECOVERY = "VM recovery required"
_GRACE = pointer("spec", "terminationGracePeriodSeconds")
_REQUESTS = pointer("status", "stateChangeRequests")


@dataclass(frozen=True)
class Write:
    """One JSON patch, of the VM or of the VMI with its name."""

    kind: Kind[Any]
    operations: Sequence[Operation]
    subresource: str = ""


def start(vm: v1.VirtualMachine, vmi: v1.VirtualMachineInstance | None, options: StartOptions) -> tuple[Write, ...]:
    """Raises :class:`RefusedError` when the VM cannot be started now."""
    if vmi is not None and vmi.status.phase not in (*FINAL, "Unknown", ""):
        raise _conflict(vm, "VM is already running")
    _refuse_manual_recovery(vm)
    strategy = vm.spec.strategy
    begin = v1.VirtualMachineStateChangeRequest(action="Start", data={"paused": "true"} if options.paused else {})
    if strategy == "Halted":
        return (_requests(vm, begin) if options.paused else _switched(vm, on=True),)
    if strategy in ("RerunOnFailure", "Manual"):
        if vmi is not None and strategy == "RerunOnFailure" and vmi.status.phase == "Failed":
            raise _conflict(vm, f"{strategy} does not support starting VM from failed state")
        if vmi is not None and vmi.status.phase in FINAL:
            return (_requests(vm, _ending(vmi), begin),)
        return (_requests(vm, begin),)
    raise _conflict(vm, f"{strategy} does not support manual start requests")


def stop(vm: v1.VirtualMachine, vmi: v1.VirtualMachineInstance | None, options: StopOptions) -> tuple[Write, ...]:
    """A grace period is written to the running VMI first. Raises :class:`RefusedError`."""
    live = vmi if vmi is not None and vmi.status.phase not in FINAL else None
    if options.grace_period is not None and options.grace_period < 0:
        raise bad_request(f"gracePeriod must not be negative: {options.grace_period}")
    grace = () if live is None or options.grace_period is None else (_graced(live, options.grace_period),)
    strategy = vm.spec.strategy
    if strategy == "Halted":
        if live is None:
            raise _conflict(vm, "VM is not running")
        own = live.spec.termination_grace_period_seconds
        if options.grace_period is None or (own is not None and options.grace_period >= own):
            raise _conflict(vm, f"{strategy} only supports manual stop requests with a shorter graceperiod")
        return grace
    if strategy in ("RerunOnFailure", "Manual"):
        if live is None:
            raise _conflict(vm, "VM is not running")
        return (*grace, _requests(vm, _ending(live), replace=True))
    return (*grace, _switched(vm, on=False))


def restart(
    vm: v1.VirtualMachine, vmi: v1.VirtualMachineInstance | None, options: RestartOptions
) -> tuple[Write, ...]:
    """Raises :class:`RefusedError`, also for a grace period other than 0 (kill at once)."""
    if options.grace_period_seconds not in (None, 0):
        raise bad_request("For force restart, only gracePeriod=0 is supported for now")
    strategy = vm.spec.strategy
    if strategy in ("Halted", "Once"):
        raise _conflict(vm, f"{strategy} does not support manual restart requests")
    if vmi is None:
        raise _conflict(vm, "VM is not running: Halted")
    _refuse_manual_recovery(vm)
    if vm.status.volume_update_state is not None and vm.status.volume_update_state.volume_migration_state is not None:
        raise _conflict(vm, f"{_RECOVERY}: its volumes are being changed, and it cannot start from half a copy; wait "
                            "for the end of that, or set the volumes back")
    grace = () if options.grace_period_seconds is None else (_graced(vmi, FORCED_GRACE_S),)
    return (*grace, _requests(vm, _ending(vmi), v1.VirtualMachineStateChangeRequest(action="Start")))


def _ending(vmi: v1.VirtualMachineInstance) -> v1.VirtualMachineStateChangeRequest:
    return v1.VirtualMachineStateChangeRequest(action="Stop", uid=vmi.metadata.uid)


def _switched(vm: v1.VirtualMachine, *, on: bool) -> Write:
    field: str
    old: object
    new: object
    if vm.spec.running is not None:
        field, old, new = "running", vm.spec.running, on
    else:
        field, old, new = "runStrategy", vm.spec.run_strategy, "Always" if on else "Halted"
    path = pointer("spec", field)
    return Write(kinds.VM, (test(path, old), add(path, new)))


def _requests(vm: v1.VirtualMachine, *changes: v1.VirtualMachineStateChangeRequest, replace: bool = False) -> Write:
    """Queue ``changes``. Others that wait already are an error, unless a stop is to ``replace`` them."""
    wanted = codec.to_json(changes)
    waiting = vm.status.state_change_requests
    if waiting and not replace:
        raise internal("unable to complete request: stop/start already underway")
    if vm.status == v1.VirtualMachineStatus():
        # There may be no status to add to; a fresh one must not overwrite what came meanwhile.
        version = test(pointer("metadata", "resourceVersion"), vm.metadata.resource_version)
        return Write(kinds.VM, (version, add("/status", {"stateChangeRequests": wanted})), "status")
    operations = [test(_REQUESTS, codec.to_json(waiting) if waiting else None), add(_REQUESTS, wanted)]
    if vm.status.start_failure is not None:
        operations.append(remove(pointer("status", "startFailure")))
    return Write(kinds.VM, operations, "status")


def _graced(vmi: v1.VirtualMachineInstance, seconds: int) -> Write:
    return Write(kinds.VMI, (test(_GRACE, vmi.spec.termination_grace_period_seconds), add(_GRACE, seconds)))


def _refuse_manual_recovery(vm: v1.VirtualMachine) -> None:
    if conditions.is_true(vm.status.conditions, "ManualRecoveryRequired"):
        raise _conflict(vm, f"{_RECOVERY}: a change of its volumes was not completed; set them back to those it had")


def _conflict(vm: v1.VirtualMachine, why: str) -> RefusedError:
    return conflict(kinds.VM, vm.metadata.name, why)
