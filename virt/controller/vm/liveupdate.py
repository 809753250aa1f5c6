"""What of a changed template a running guest follows, and what is done so that it does. Pure.

``FOLLOWED`` lists the fields that need no restart, each with how a template of before is made equal to one of now in
them, and whether the guest's VMI is what a template asks in them. ``update`` makes the VMI be that, one kind of change
after the other; each sees the VMI as those before it leave it. Whoever has a guest follow more adds to both. Disks that
come and go are looked at beside the list (virt.controller.vm.hotplug): they are entries of lists, not fields.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Final

from msgspec.structs import replace

from virt.api import defaults, v1
from virt.api.clusterconfig import LIVE_UPDATE, ClusterConfig
from virt.api.volumechange import claims, with_claims
from virt.controller.vm import claimchange, hotplug, socketchange
from virt.controller.vm.claimchange import NOT_LIVE, Claims, Moved

Spec = v1.VirtualMachineInstanceSpec


@dataclass(frozen=True)
class Followed:
    """``over(then, now)``: ``then`` with the fields of ``now``. ``holds(asked, live)``: whether a VMI is as asked."""

    over: Callable[[Spec, Spec], Spec]
    holds: Callable[[Spec, Spec], bool]


@dataclass(frozen=True)
class Update:
    """``moved``: what the VM is to remember of claims that are being changed. ``vmi``: as it is to be stored once the
    VM has been, None to leave it. ``restart``: why the change needs one, "" when it does not; ``fault``: condition
    Failure."""

    moved: Moved = ()
    vmi: v1.VirtualMachineInstance | None = None
    restart: str = ""
    fault: v1.Condition | None = None


def update(
    vm: v1.VirtualMachine, vmi: v1.VirtualMachineInstance | None, found: Claims, config: ClusterConfig, *,
    restart: str, now: str,
) -> Update:
    """``restart``: why other fields of the template need one, "" when they do not; ``now``: RFC 3339."""
    is_live = not restart and config.rollout_strategy == LIVE_UPDATE
    sockets = _sockets(vm, vmi, config, is_live=is_live, now=now)
    known = sockets.vmi or vmi
    moved = claimchange.change(vm, known, found, is_live=is_live and not sockets.restart, now=now)
    # Disks come and go whatever else takes a restart.
    plugged = hotplug.plug(vm, moved.vmi or known, is_live=config.rollout_strategy == LIVE_UPDATE)
    return Update(
        moved.moved, plugged.vmi or moved.vmi or sockets.vmi, restart or sockets.restart or moved.restart,
        moved.fault or plugged.fault or sockets.fault)


def _sockets(
    vm: v1.VirtualMachine, vmi: v1.VirtualMachineInstance | None, config: ClusterConfig, *, is_live: bool, now: str
) -> socketchange.Change:
    if vmi is None or vm.spec.template is None or vmi.status.phase != "Running":
        return socketchange.Change()
    if vmi.metadata.deletion_timestamp is not None:
        return socketchange.Change()
    if is_live:
        return socketchange.change(as_admitted(vm.spec.template.spec), vmi, config, now)
    holds = SOCKETS.holds(vm.spec.template.spec, vmi.spec)
    return socketchange.Change(restart="" if holds else NOT_LIVE)


def needs_restart(
    then: v1.VirtualMachineSpec | None, now: v1.VirtualMachineSpec, live: v1.VirtualMachineInstanceSpec, *,
    is_live: bool,
) -> str:
    """Why the present template needs a restart, "" when it does not, or when :func:`update` is to tell. ``live``: of
    the VMI; ``is_live``: a running guest may be changed."""
    if then is None or then.template is None or now.template is None:
        return ""
    before, after = _followed(then.template.spec, now.template.spec), now.template.spec
    return NOT_LIVE if (hotplug.needs_restart(before, after, live) if is_live else before != after) else ""


def same_template(
    then: v1.VirtualMachineSpec | None, now: v1.VirtualMachineSpec, live: v1.VirtualMachineInstanceSpec
) -> bool:
    """Whether the guest, whose VMI is now ``live``, is what the template describes, whatever it was started as."""
    if then is None or then.template is None or now.template is None:
        return False
    asked = now.template.spec
    return (
        all(each.holds(asked, live) for each in FOLLOWED) and hotplug.is_plugged(asked, live)
        and not hotplug.needs_restart(_followed(then.template.spec, asked), asked, live)
        and then.template.metadata == now.template.metadata
    )


def as_admitted(spec: Spec) -> Spec:
    """A template's spec as that of its VMI would be, as far as processors go."""
    return defaults.instance_spec(spec, ClusterConfig())


def _followed(then: Spec, now: Spec) -> Spec:
    return reduce(lambda spec, each: each.over(spec, now), FOLLOWED, then)


def _with_sockets(then: Spec, now: Spec) -> Spec:
    """An object that is only there to hold nothing else is no difference."""
    cpu, wanted = then.domain.cpu, now.domain.cpu
    if cpu is None and wanted is None:
        return then
    cpu = replace(cpu or v1.CPU(), sockets=(wanted or v1.CPU()).sockets)
    if cpu == v1.CPU() and wanted is None:
        cpu = None
    return replace(then, domain=replace(then.domain, cpu=cpu))


def _has_sockets(asked: Spec, live: Spec) -> bool:
    return (as_admitted(asked).domain.cpu or v1.CPU()).sockets == (live.domain.cpu or v1.CPU()).sockets


CLAIMS: Final = Followed(
    over=lambda then, now: with_claims(then, claims(now)), holds=lambda asked, live: claims(asked) == claims(live))
SOCKETS: Final = Followed(over=_with_sockets, holds=_has_sockets)
FOLLOWED: Final = (CLAIMS, SOCKETS)
