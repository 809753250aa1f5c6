"""Status of a VirtualMachine after a pass. Pure."""

from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from virt.api import conditions, names, v1
from virt.base.clock import rfc3339
from virt.controller.vm import plan as planning
from virt.controller.vm.claimchange import MANUAL_RECOVERY, Moved, needs_recovery, state_of
from virt.controller.vm.plan import ALWAYS, ONCE, RERUN, Plan, World
from virt.controller.vm.printable import printable_status

_BACK_OFF_S: Final = 10
# Types that are not copied from the VMI.
_OWN: Final = frozenset({"Ready", "Failure", "RestartRequired", MANUAL_RECOVERY})

_RECOVERY: Final = v1.Condition(
    type=MANUAL_RECOVERY, status="True", reason="VolumeMigrationNotCompleted",
    message="the guest ended before its new volumes were complete: set the volumes of the template back to those it "
            "had, or updateVolumesStrategy to Replacement to start from the new ones as they are")


def updated(
    world: World, chosen: Plan, fault: v1.Condition | None, *, now: datetime, chance: float,
    restart_required: str = "", moved: Moved = (),
) -> v1.VirtualMachineStatus:
    """``world``: as it is after the actions; ``fault``: condition Failure, None when all went well; ``chance``: random
    number in 0..1 for the back-off; ``restart_required``: why the changes need a restart, "" when they do not;
    ``moved``: the change of claims that has begun and not ended."""
    vm, vmi = world.vm, world.vmi
    remembering = replace(vm, status=replace(vm.status, volume_update_state=state_of(moved)))
    status = replace(
        vm.status,
        created=vmi is not None,
        ready=vmi is not None and conditions.is_true(vmi.status.conditions, "Ready"),
        state_change_requests=planning.pending(chosen.requests, vmi),
        start_failure=start_failure(vm, vmi, now, chance),
        run_strategy=_acted_on(world, chosen, fault),
        desired_generation=vm.metadata.generation,
        observed_generation=_observed_generation(vm, vmi),
        conditions=_conditions(remembering, vmi, fault, restart_required, rfc3339(now)),
        volume_update_state=remembering.status.volume_update_state,
    )
    return replace(status, printable_status=printable_status(world, status))


def start_failure(
    vm: v1.VirtualMachine, vmi: v1.VirtualMachineInstance | None, now: datetime, chance: float
) -> v1.VirtualMachineStartFailure | None:
    """Counts VMIs that ended without ever having run; each is counted once."""
    strategy = vm.spec.strategy
    known = vm.status.start_failure
    if strategy not in (ALWAYS, RERUN, ONCE) or (vm.status.run_strategy and planning.strategy_changed(vm)):
        known = None
    if vmi is None:
        return known
    if any(entry.phase == "Running" for entry in vmi.status.phase_transition_timestamps):
        return None
    counts = strategy in (ALWAYS, RERUN, ONCE) and planning.is_final(vmi)
    if not counts or (known is not None and known.last_failed_vmi_uid == vmi.metadata.uid):
        return known
    count = 1 + (known.consecutive_fail_count if known else 0)
    return v1.VirtualMachineStartFailure(
        consecutive_fail_count=count,
        last_failed_vmi_uid=vmi.metadata.uid,
        retry_after_timestamp=rfc3339(now + timedelta(seconds=delay_s(count, chance))),
    )


def delay_s(count: int, chance: float) -> float:
    """10 s times the square of the failures, and up to half of it more, so that many VMs do not come back together.

    >>> delay_s(1, 0.0), delay_s(2, 1.0), delay_s(9, 0.5)
    (10.0, 60.0, 300.0)
    """
    return min(planning.LONGEST_BACK_OFF_S, _BACK_OFF_S * count**2 * (1 + chance / 2)) * 1.0


def _acted_on(world: World, chosen: Plan, fault: v1.Condition | None) -> str:
    """RerunOnFailure starts a VM when it has just been chosen: remember it only when that start is done."""
    vm = world.vm
    undone = world.vmi is None and (chosen.wait_s is not None or (fault is not None and bool(chosen.actions)))
    return vm.status.run_strategy if undone and vm.spec.strategy == RERUN else vm.spec.strategy


def _observed_generation(vm: v1.VirtualMachine, vmi: v1.VirtualMachineInstance | None) -> int:
    """The generation that the running VMI was made from; without one the VM is as it is."""
    text = vmi.metadata.annotations.get(names.VM_GENERATION_ANNOTATION, "") if vmi is not None else ""
    return int(text) if text.isdecimal() else vm.metadata.generation


def _conditions(
    vm: v1.VirtualMachine, vmi: v1.VirtualMachineInstance | None, fault: v1.Condition | None, restart_required: str,
    now: str,
) -> tuple[v1.Condition, ...]:
    copied = {condition.type: condition for condition in vmi.status.conditions} if vmi is not None else {}
    own = tuple(condition for condition in vm.status.conditions if condition.type in _OWN)
    found = conditions.with_condition(own, _ready(vmi), now)
    if fault is None:
        found = conditions.without(found, "Failure")
    else:
        found = conditions.with_condition(found, fault, now)
    if restart_required and vmi is not None:
        needed = v1.Condition(type="RestartRequired", status="True", message=restart_required)
        found = conditions.with_condition(found, needed, now)
    else:
        found = conditions.without(found, "RestartRequired")
    if needs_recovery(vm, vmi):
        found = conditions.with_condition(found, _RECOVERY, now)
    else:
        found = conditions.without(found, MANUAL_RECOVERY)
    return (*found, *(condition for type_, condition in copied.items() if type_ not in _OWN))


def _ready(vmi: v1.VirtualMachineInstance | None) -> v1.Condition:
    if vmi is None:
        return v1.Condition(type="Ready", status="False", reason="VMINotExists", message="VMI does not exist")
    of_vmi = conditions.find(vmi.status.conditions, "Ready")
    if of_vmi is None:
        return v1.Condition(
            type="Ready", status="False", reason="VMIConditionMissing", message="VMI is missing the Ready condition")
    return replace(of_vmi, last_probe_time=None, last_transition_time=None)
