"""Which attachment pods a VMI is to have, and how far each of its hot-plugged volumes is. Facts in, actions out. Pure.

At rest there is one such pod for each launcher, with all claims. When the set of claims changes a new one is made, and
the old one goes only when the new one runs: what the guest has stays mounted on its node without a gap.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from virt.api import core, hotplug, names, v1
from virt.api.volumechange import sources
from virt.controller import owners
from virt.controller.vmi.hotplug import pod as pods
from virt.controller.vmi.plan import World, has_ended, is_final, is_over
from virt.controller.vmi.status import claim_info

NOT_FOUND: Final = "FailedPvcNotFound"
NOT_READY: Final = "PVCNotReady"
Claims = Mapping[str, str]                      # volume -> claim


@dataclass(frozen=True)
class CreateAttachment:
    launcher: core.Pod
    claims: Claims


@dataclass(frozen=True)
class DeleteAttachment:
    pod: core.Pod


Action = CreateAttachment | DeleteAttachment


def plan(world: World) -> tuple[Action, ...]:
    launchers = {pod.metadata.uid: pod for pod in world.pods if not has_ended(pod)}
    actions: list[Action] = [
        DeleteAttachment(pod) for pod in world.attachments
        if owner_uid(pod) not in launchers and pod.metadata.deletion_timestamp is None
    ]
    for launcher in launchers.values():
        actions += _of_launcher(world, launcher)
    return tuple(actions)


def attachment_for(
    vmi: v1.VirtualMachineInstance, launcher: core.Pod, attachments: Sequence[core.Pod]
) -> core.Pod | None:
    """The one that has all that a guest brings along, for a launcher to which it is to come; None while it is not
    up."""
    name = pods.attachment_name(launcher, hotplug.held(vmi))
    return next((pod for pod in attachments if _is_of(pod, launcher) and pod.metadata.name == name and pods.is_up(pod)),
                None)


def owner_uid(attachment: core.Pod) -> str:
    owner = owners.controller_of(attachment.metadata)
    return owner.uid if owner is not None else ""


def volume_status(world: World) -> tuple[v1.VolumeStatus, ...]:
    """All of the VMI's, with those that are hot-plugged brought up to date."""
    vmi = world.vmi
    asked = hotplug.claims(vmi.spec)
    known = {entry.name: entry for entry in vmi.status.volume_status}
    if is_final(vmi) or not (asked or any(entry.hotplug_volume is not None for entry in known.values())):
        return vmi.status.volume_status
    here = _claims_here(world)
    found = []
    for entry in known.values():
        if entry.name in asked:
            found.append(_entry(world, entry, here.get(entry.name, asked[entry.name])))
        elif entry.hotplug_volume is None:
            found.append(entry)
        elif entry.phase in (hotplug.ATTACHED, *hotplug.GUESTS):
            found.append(_attached(world, replace(entry, phase=hotplug.DETACHING), here.get(entry.name, "")))
    found += [_entry(world, v1.VolumeStatus(name=name), here.get(name, claim))
              for name, claim in asked.items() if name not in known]
    return tuple(found)


# --- pods ---


def _of_launcher(world: World, launcher: core.Pod) -> list[Action]:
    mine = [pod for pod in world.attachments if _is_of(pod, launcher)]
    if _is_settled(world, launcher):
        return []
    main, waiting = _wanted(world, launcher)
    wanted = {pods.attachment_name(launcher, claims): claims for claims in (main, *waiting) if claims}
    by_name = {pod.metadata.name: pod for pod in mine}
    actions: list[Action] = [CreateAttachment(launcher, claims) for name, claims in wanted.items()
                             if name not in by_name]
    whole = by_name.get(pods.attachment_name(launcher, main))
    may_go = not main or (whole is not None and pods.is_up(whole))
    for name, pod in by_name.items():
        is_of_no_use = is_over(pod) if name in wanted else may_go
        if is_of_no_use and pod.metadata.deletion_timestamp is None:
            actions.append(DeleteAttachment(pod))
    return actions


def _is_settled(world: World, launcher: core.Pod) -> bool:
    """Nothing is to change for it any more: it goes, its guest has left, or is not coming after all."""
    state = world.vmi.status.migration_state
    is_going = launcher.metadata.deletion_timestamp is not None or world.vmi.metadata.deletion_timestamp is not None
    if is_going or is_final(world.vmi) or not launcher.spec.node_name:
        return True
    if state is None or not state.completed or launcher is world.pod:
        return False
    return launcher.metadata.name == (state.target_pod if state.failed else state.source_pod)


def _wanted(world: World, launcher: core.Pod) -> tuple[Claims, tuple[Claims, ...]]:
    """What one pod is to carry, and claims that each have one of their own until they are bound."""
    if launcher is not world.pod:
        return hotplug.held(world.vmi), ()
    here = _claims_here(world)
    guests = hotplug.held(world.vmi)
    unbound = {name: claim for name, claim in here.items() if name not in guests and not _is_bound(world, claim)}
    main = {name: claim for name, claim in here.items() if name not in unbound}
    return main, tuple({name: claim} for name, claim in unbound.items())


def _claims_here(world: World) -> Claims:
    """Of the launcher that has the guest. A claim that is being replaced by a migration is the old one here."""
    vmi = world.vmi
    before = sources(vmi.status.migrated_volumes)
    asked = {name: claim for name, claim in hotplug.claims(vmi.spec).items() if _is_usable(world.claims.get(claim))}
    return {name: before.get(name, claim) for name, claim in {**hotplug.held(vmi), **asked}.items()}


def _is_usable(claim: core.PersistentVolumeClaim | None) -> bool:
    return claim is not None and claim.spec.volume_mode != "Block"


def _is_bound(world: World, name: str) -> bool:
    claim = world.claims.get(name)
    return claim is not None and claim.status.phase == "Bound"


def _is_of(pod: core.Pod, launcher: core.Pod) -> bool:
    return owner_uid(pod) == launcher.metadata.uid


# --- status ---


def _entry(world: World, entry: v1.VolumeStatus, name: str) -> v1.VolumeStatus:
    if entry.phase in (hotplug.MOUNTED, hotplug.READY):
        return _attached(world, entry, name)
    claim = world.claims.get(name)
    if entry.phase == hotplug.DETACHING:                    # it came back before it had gone
        claim_now = entry.persistent_volume_claim_info
    else:
        claim_now = claim_info(name, claim)
    entry = replace(
        entry, persistent_volume_claim_info=claim_now, hotplug_volume=entry.hotplug_volume or v1.HotplugVolumeStatus())
    if _attachment(world, entry.name, name) is not None:
        return _attached(world, replace(entry, phase=hotplug.ATTACHED, reason="", message=""), name)
    phase, reason, message = _waits(name, claim)
    return replace(entry, phase=phase, reason=reason, message=message, hotplug_volume=v1.HotplugVolumeStatus())


def _waits(name: str, claim: core.PersistentVolumeClaim | None) -> tuple[str, str, str]:
    """Phase, reason and message of a volume that no attachment pod has."""
    if claim is None:
        return hotplug.PENDING, NOT_FOUND, f"PVC {name} not found"
    if claim.spec.volume_mode == "Block":
        return hotplug.PENDING, NOT_READY, f"PVC {name} is a block device: hotplug of those is not supported yet"
    if claim.status.phase != "Bound":
        return hotplug.PENDING, NOT_READY, f"PVC {name} is not bound yet"
    return hotplug.BOUND, "", ""


def _attached(world: World, entry: v1.VolumeStatus, claim: str) -> v1.VolumeStatus:
    """With the pod that has it now. None may have it for a moment: the launcher keeps what it was given."""
    found = _attachment(world, entry.name, claim)
    if found is None:
        return entry
    return replace(entry, hotplug_volume=v1.HotplugVolumeStatus(
        attach_pod_name=found.metadata.name, attach_pod_uid=found.metadata.uid))


def _attachment(world: World, volume: str, claim: str) -> core.Pod | None:
    """The pod of the guest's launcher that has mounted the claim; that with the most, which stays."""
    launcher = world.pod
    if launcher is None:
        return None
    found = [pod for pod in world.attachments
             if _is_of(pod, launcher) and pods.is_up(pod) and pods.carries(pod, volume, claim)
             and pod.metadata.name.startswith(names.ATTACHMENT_PREFIX)]
    return max(found, key=lambda pod: (len(pod.spec.volumes), pod.metadata.name), default=None)
