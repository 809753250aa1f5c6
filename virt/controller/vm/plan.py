"""What a VirtualMachine wants done about its VMI: run strategy, queued requests, back-off. Facts in, actions out. Pure.

The table is "Run strategies" in docs/architecture.md. KubeVirt: pkg/virt-controller/watch/vm/vm.go (syncRunStrategy).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from virt.api import core, names, phases, v1
from virt.base.clock import parse_time
from virt.controller.vm.claimchange import needs_recovery

ALWAYS: Final = "Always"
HALTED: Final = "Halted"
MANUAL: Final = "Manual"
RERUN: Final = "RerunOnFailure"
ONCE: Final = "Once"
START: Final = "Start"
STOP: Final = "Stop"
LONGEST_BACK_OFF_S: Final = 300
ORPHAN_FINALIZER: Final = "orphan"       # the garbage collector's, while it takes owner references off

Requests = tuple[v1.VirtualMachineStateChangeRequest, ...]


@dataclass(frozen=True)
class World:
    """``vmi``: the one this VM controls, None when there is none; ``claims``: PVCs of the template by name."""

    vm: v1.VirtualMachine
    vmi: v1.VirtualMachineInstance | None = None
    claims: Mapping[str, core.PersistentVolumeClaim | None] = field(default_factory=dict)


@dataclass(frozen=True)
class CreateVmi:
    paused: bool = False


@dataclass(frozen=True)
class DeleteVmi:
    vmi: v1.VirtualMachineInstance


@dataclass(frozen=True)
class SetRunning:
    """Change the strategy to Always: a halted VM was asked to start paused."""


Action = CreateVmi | DeleteVmi | SetRunning


@dataclass(frozen=True)
class Plan:
    """``requests``: the queue as it should be; ``wait_s``: a VMI is wanted, but only after this time."""

    actions: tuple[Action, ...] = ()
    requests: Requests = ()
    wait_s: float | None = None


def plan(world: World, now: datetime) -> Plan:
    vm, vmi = world.vm, world.vmi
    requests = pending(vm.status.state_change_requests, vmi)
    if vm.metadata.deletion_timestamp is not None:
        keeps = vmi is None or is_leaving(vmi) or not holds(vm) or ORPHAN_FINALIZER in vm.metadata.finalizers
        return Plan((), requests) if keeps or vmi is None else Plan((DeleteVmi(vmi),), requests)
    if vmi is not None:
        return _with_vmi(vm.spec.strategy, vmi, requests)
    return _without_vmi(vm, requests, now)


def kept_finalizers(world: World) -> tuple[str, ...]:
    """Ours is there from the first pass until the VMI of a deleted VM is gone, or is to be left alone."""
    meta = world.vm.metadata
    if meta.deletion_timestamp is None:
        return meta.finalizers if holds(world.vm) else (*meta.finalizers, names.VM_CONTROLLER_FINALIZER)
    if world.vmi is not None and ORPHAN_FINALIZER not in meta.finalizers:
        return meta.finalizers
    return tuple(name for name in meta.finalizers if name != names.VM_CONTROLLER_FINALIZER)


def lets_go(vmi: v1.VirtualMachineInstance | None) -> bool:
    """Whether our finalizer may come off the VMI: it is being deleted and its outcome has been seen."""
    return (
        vmi is not None and is_leaving(vmi) and is_final(vmi)
        and names.VM_CONTROLLER_FINALIZER in vmi.metadata.finalizers
    )


def pending(requests: Requests, vmi: v1.VirtualMachineInstance | None) -> Requests:
    """The queue without what is done: a Stop whose VMI is gone, a Start whose VMI lives."""
    while requests and _is_done(requests[0], vmi):
        requests = requests[1:]
    return requests


def _is_done(request: v1.VirtualMachineStateChangeRequest, vmi: v1.VirtualMachineInstance | None) -> bool:
    if request.action == STOP:
        return vmi is None or request.uid != vmi.metadata.uid
    return vmi is not None and not is_final(vmi)


def is_final(vmi: v1.VirtualMachineInstance) -> bool:
    return vmi.status.phase in phases.FINAL


def is_leaving(vmi: v1.VirtualMachineInstance) -> bool:
    return vmi.metadata.deletion_timestamp is not None


def holds(vm: v1.VirtualMachine) -> bool:
    return names.VM_CONTROLLER_FINALIZER in vm.metadata.finalizers


def strategy_changed(vm: v1.VirtualMachine) -> bool:
    """Since the last pass that acted on it; also true for a new VM."""
    return vm.status.run_strategy != vm.spec.strategy


def back_off_s(vm: v1.VirtualMachine, now: datetime) -> float:
    """How long a new start has to wait after failed ones; 0 when it need not.

    A time further away than the longest pause was written by a clock that was wrong: nobody would wait for it.
    """
    failure = vm.status.start_failure
    if failure is None or not failure.retry_after_timestamp or strategy_changed(vm):
        return 0.0
    left = (parse_time(failure.retry_after_timestamp) - now).total_seconds()
    return left if 0 < left <= LONGEST_BACK_OFF_S else 0.0


def _with_vmi(strategy: str, vmi: v1.VirtualMachineInstance, requests: Requests) -> Plan:
    stop = bool(requests) and requests[0].action == STOP
    wants_end = {
        ALWAYS: stop or is_final(vmi),
        HALTED: True,
        RERUN: stop or is_final(vmi),
        MANUAL: stop,
        ONCE: stop,
    }.get(strategy, False)
    if not wants_end or is_leaving(vmi):
        return Plan((), requests)
    if strategy == RERUN and vmi.status.phase == "Failed" and not requests:
        # Stored before the VMI is deleted: without it, nobody would know afterwards that it had failed.
        return Plan((), (v1.VirtualMachineStateChangeRequest(action=START),))
    return Plan((DeleteVmi(vmi),), requests)


def _without_vmi(vm: v1.VirtualMachine, requests: Requests, now: datetime) -> Plan:
    start = requests[0] if requests and requests[0].action == START else None
    wanted = {
        ALWAYS: True,
        ONCE: True,                     # a finished VMI is kept, so none at all means: not run yet, or deleted
        RERUN: start is not None or strategy_changed(vm),
        MANUAL: start is not None,
    }.get(vm.spec.strategy, False)
    if vm.spec.strategy == HALTED and start is not None:
        return Plan((SetRunning(),), requests)
    if not wanted:
        return Plan((), requests)
    if needs_recovery(vm, None):
        return Plan((), requests)
    wait_s = back_off_s(vm, now)
    if wait_s > 0:
        return Plan((), requests, wait_s)
    return Plan((CreateVmi(paused=start is not None and start.data.get("paused") == "true"),), requests)
