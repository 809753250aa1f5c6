"""The one word that ``kubectl get vm`` shows. The first rule that fits gives it. Pure."""

from collections.abc import Callable
from typing import Final

from virt.api import conditions, v1
from virt.controller.vm import plan as planning
from virt.controller.vm.plan import HALTED, MANUAL, World

_STARTING: Final = ("", "Pending", "Scheduling", "Scheduled")

Rule = Callable[[World, v1.VirtualMachineStatus], bool]


def printable_status(world: World, status: v1.VirtualMachineStatus) -> str:
    """``status``: the VM's new one."""
    return next((word for word, fits in _RULES if fits(world, status)), "Unknown")


def _vmi_has(word: str) -> Rule:
    """The VMI lives and cannot get on for a reason of that name."""

    def fits(world: World, _status: v1.VirtualMachineStatus) -> bool:
        found = conditions.find(world.vmi.status.conditions, "Synchronized") if world.vmi else None
        return not _is_off(world) and found is not None and found.status == "False" and found.reason == word

    return fits


def _is_off(world: World) -> bool:
    return world.vmi is None or planning.is_final(world.vmi)


def _phase(world: World) -> str:
    return world.vmi.status.phase if world.vmi is not None else ""


def _is_leaving(world: World) -> bool:
    return world.vmi is not None and planning.is_leaving(world.vmi)


def _is_migrating(world: World) -> bool:
    state = world.vmi.status.migration_state if world.vmi is not None else None
    return state is not None and bool(state.start_timestamp) and not state.end_timestamp


def _is_paused(world: World) -> bool:
    return world.vmi is not None and conditions.is_true(world.vmi.status.conditions, "Paused")


def _is_unschedulable(world: World) -> bool:
    found = conditions.find(world.vmi.status.conditions, "PodScheduled") if world.vmi else None
    return not _is_off(world) and found is not None and found.status == "False" and found.reason == "Unschedulable"


def _waits_for_binding(world: World) -> bool:
    """Supposed to run, and a PVC is there but unbound."""
    starting = world.vmi is not None and world.vmi.status.phase in _STARTING
    wanted = starting or (world.vmi is None and world.vm.spec.strategy not in (HALTED, MANUAL))
    return wanted and any(claim is not None and claim.status.phase == "Pending" for claim in world.claims.values())


def _is_crash_looping(world: World, status: v1.VirtualMachineStatus) -> bool:
    return _is_off(world) and status.start_failure is not None and status.start_failure.consecutive_fail_count > 0


_RULES: Final[tuple[tuple[str, Rule], ...]] = (
    ("Terminating", lambda world, _status: world.vm.metadata.deletion_timestamp is not None),
    ("Stopping", lambda world, _status: not _is_off(world) and _is_leaving(world)),
    ("Migrating", lambda world, _status: not _is_off(world) and _is_migrating(world)),
    ("Paused", lambda world, _status: _phase(world) == "Running" and _is_paused(world)),
    ("Running", lambda world, _status: _phase(world) == "Running"),
    ("ErrorPvcNotFound", _vmi_has("FailedPvcNotFound")),
    ("ErrorUnschedulable", lambda world, _status: _is_unschedulable(world)),
    ("WaitingForVolumeBinding", lambda world, _status: _waits_for_binding(world)),
    ("ErrImagePull", _vmi_has("ErrImagePull")),
    ("ImagePullBackOff", _vmi_has("ImagePullBackOff")),
    ("Starting", lambda world, _status: world.vmi is not None and _phase(world) in _STARTING),
    ("CrashLoopBackOff", lambda world, status: _is_crash_looping(world, status)),
    ("Stopped", lambda world, _status: _is_off(world)),
)
