"""Volumes that a template has and its running guest has not, or the other way round: what becomes of the VMI. Pure.

The template is what is asked for; the VMI's spec follows, and the node follows that. KubeVirt: the declarative hot-plug
of pkg/virt-controller/watch/vm (gate DeclarativeHotplugVolumes).
"""

from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from virt.api import hotplug, v1
from virt.api.migrationstate import is_under_way
from virt.api.validate import hotplug as rules
from virt.controller.vmi.plan import is_final

ERROR: Final = "HotPlugVolumeError"


@dataclass(frozen=True)
class Plug:
    """``vmi``: as it is to be stored, None to leave it; ``fault``: condition Failure."""

    vmi: v1.VirtualMachineInstance | None = None
    fault: v1.Condition | None = None


def plug(vm: v1.VirtualMachine, vmi: v1.VirtualMachineInstance | None, *, is_live: bool) -> Plug:
    """``is_live``: a running guest may be changed."""
    template = vm.spec.template
    if template is None or vmi is None or not is_live or is_final(vmi) or vmi.metadata.deletion_timestamp is not None:
        return Plug()
    if is_under_way(vmi.status.migration_state):
        return Plug()                               # both nodes are to have the same disks
    asked, there = hotplug.parts(template.spec), hotplug.claims(vmi.spec)
    spec = hotplug.without(vmi.spec, frozenset(name for name in there if name not in asked))
    wrong = []
    for index, disk in enumerate(template.spec.domain.devices.disks):
        if disk.name not in asked or disk.name in there:
            continue
        causes = [cause.message for cause in
                  rules.disk_cause(f"spec.template.spec.domain.devices.disks[{index}]", disk)]
        volume, _ = asked[disk.name]
        claim = volume.persistent_volume_claim.claim_name if volume.persistent_volume_claim is not None else ""
        refused = rules.why_not_added(spec.volumes, disk.name, claim)
        if causes or refused:
            wrong += causes or [refused]
            continue
        spec = hotplug.added(spec, volume, disk)
    fault = v1.Condition(
        type="Failure", status="True", reason=ERROR,
        message=f"Error encountered while hotplugging volumes: {', '.join(wrong)}") if wrong else None
    return Plug(replace(vmi, spec=spec) if spec != vmi.spec else None, fault)


def needs_restart(
    then: v1.VirtualMachineInstanceSpec, now: v1.VirtualMachineInstanceSpec, live: v1.VirtualMachineInstanceSpec
) -> bool:
    """Whether more is different than disks that come and go. ``then``: of the guest's start, ``live``: of its VMI."""
    if hotplug.without(then) != hotplug.without(now):
        return True
    before = {disk.name: disk for disk in then.domain.devices.disks}
    has = {disk.name: disk for disk in live.domain.devices.disks}
    # A disk that is in the guest cannot become another one there.
    return any(name in has and disk not in (before.get(name), has[name])
               for name, (_, disk) in hotplug.parts(now).items())


def is_plugged(now: v1.VirtualMachineInstanceSpec, live: v1.VirtualMachineInstanceSpec) -> bool:
    """Whether the guest is to have just the disks that the template asks for."""
    return hotplug.claims(now) == hotplug.claims(live)
