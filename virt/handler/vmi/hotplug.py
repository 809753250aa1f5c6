"""Hot-plugged volumes of a guest that runs here: out of the attachment pod, into the launcher, into the guest, and
back.

One look at what is asked for and what is there, one step; the launcher's news and the controller's bring the next look.
A folder of a claim is opened in the attachment pod and passed to the launcher, which keeps it: nothing is mounted, and
nothing has to be found again after a restart (decision 0093).
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from msgspec.structs import replace

from virt.api import codec, hotplug, names, v1
from virt.base import log
from virt.handler.launchers.launcher import Launcher
from virt.handler.launchers.process import open_in_pod
from virt.rpc.errors import RequestFailed
from virt.rpc.framing import close_all
from virt.rpc.messages import DomainStatus, GiveVolumes, HostFacts, SyncVolumes

LEAST_VERSION = 4
DEADLINE_S = 180.0             # a disk.img may be made on the way
AGAIN_S = 3.0                  # a guest that is just booting does not hear that a disk is to go

FAILED = "HotplugFailed"
_EVENTS = {
    hotplug.MOUNTED: ("VolumeMountedToPod", "Volume {} has been mounted in the virt-launcher pod"),
    hotplug.READY: ("VolumeReady", "Volume {} has been attached to the virtual machine"),
    hotplug.UNMOUNTED: ("VolumeUnMountedFromPod", "Volume {} has been unmounted from the virt-launcher pod"),
}

Open = Callable[[str, Sequence[str]], int]
_logger = log.get("virt.handler.hotplug")


@dataclass(frozen=True)
class Todo:
    """``give``: volume -> uid of the attachment pod that has it; ``wanted``: all that the guest is to have; ``is_due``:
    it has others."""

    give: Mapping[str, str]
    wanted: tuple[str, ...]
    is_due: bool


def todo(vmi: v1.VirtualMachineInstance, domain: DomainStatus) -> Todo:
    """What is to be done about a guest that runs. Pure."""
    asked = hotplug.parts(vmi.spec)
    known = {entry.name: entry for entry in vmi.status.volume_status}
    pods = {}
    for name in asked:
        entry = known.get(name)
        if entry is None or entry.hotplug_volume is None:
            continue
        if entry.phase in (hotplug.ATTACHED, hotplug.MOUNTED, hotplug.READY) and entry.hotplug_volume.attach_pod_uid:
            pods[name] = entry.hotplug_volume.attach_pod_uid
    given = frozenset(domain.given)
    in_guest = {disk.volume for disk in domain.disks} & given
    return Todo(
        {name: pod for name, pod in pods.items() if name not in given}, tuple(pods),
        is_due=set(pods) != in_guest or bool(given - set(pods)))


class Volumes:
    """``opens``: a folder inside a pod, by the pod's uid and the folder's path there. Raises OSError."""

    def __init__(self, facts: Callable[[], HostFacts], opens: Open = open_in_pod) -> None:
        self._facts = facts
        self._opens = opens

    async def step(self, vmi: v1.VirtualMachineInstance, launcher: Launcher) -> float | None:
        """Seconds until the next look, None when news will tell. Raises RpcError, or OSError for a folder that cannot
        be opened."""
        if launcher.status is None:
            return None
        due = todo(vmi, launcher.status)
        if not due.give and not due.is_due:
            return None
        if launcher.version < LEAST_VERSION:
            raise RequestFailed(
                "Internal", "the launcher of this guest is too old for hot-plugged volumes; restart the guest")
        if due.give:
            await self.give(launcher, due.give)
        request = SyncVolumes(vmi=codec.encode(vmi), facts=self._facts(), volumes=due.wanted)
        await launcher.call(request, deadline_s=DEADLINE_S)
        return AGAIN_S if todo(vmi, launcher.status).is_due else None

    async def give(self, launcher: Launcher, pods: Mapping[str, str]) -> None:
        """``pods``: volume -> uid of the pod that has mounted it."""
        fds: list[int] = []
        try:
            for volume, pod in pods.items():
                fds.append(await asyncio.to_thread(self._opens, pod, (names.ATTACHMENT_DIR, volume)))
            await launcher.call(GiveVolumes(volumes=tuple(pods)), fds, deadline_s=DEADLINE_S)
        finally:
            close_all(tuple(fds))
        _logger.info("volumes given", key=launcher.key, volumes=sorted(pods))


def statuses(
    vmi: v1.VirtualMachineInstance, known: tuple[v1.VolumeStatus, ...], domain: DomainStatus
) -> tuple[v1.VolumeStatus, ...]:
    """``known`` with the phases that the launcher's news tell of. Pure."""
    asked = hotplug.parts(vmi.spec)
    in_guest = {disk.volume for disk in domain.disks}
    return tuple(
        entry if entry.hotplug_volume is None else _status(
            entry, is_asked=entry.name in asked, is_given=entry.name in domain.given,
            is_in_guest=entry.name in in_guest, trouble=domain.volumes_troubled.get(entry.name, ""))
        for entry in known
    )


def _status(
    entry: v1.VolumeStatus, *, is_asked: bool, is_given: bool, is_in_guest: bool, trouble: str
) -> v1.VolumeStatus:
    phase = entry.phase
    if is_asked and phase in (hotplug.ATTACHED, hotplug.MOUNTED, hotplug.READY):
        if is_given or is_in_guest:
            phase = hotplug.READY if is_in_guest else hotplug.MOUNTED
    elif phase == hotplug.DETACHING and not is_given and not is_in_guest:
        phase = hotplug.UNMOUNTED
    entry = replace(entry, target=entry.target if is_in_guest else "")
    if phase == entry.phase and not trouble and entry.reason != FAILED:
        return entry
    return replace(entry, phase=phase, reason=FAILED if trouble else "", message=trouble)


def events(
    before: tuple[v1.VolumeStatus, ...], after: tuple[v1.VolumeStatus, ...]
) -> tuple[tuple[Literal["Normal", "Warning"], str, str], ...]:
    """(type, reason, message) of what has become of volumes. Pure."""
    known = {entry.name: entry for entry in before}
    found: list[tuple[Literal["Normal", "Warning"], str, str]] = []
    for entry in after:
        was = known.get(entry.name)
        if entry.hotplug_volume is None or was is None:
            continue
        if entry.phase != was.phase and entry.phase in _EVENTS:
            if entry.phase == hotplug.UNMOUNTED and was.target:
                found.append(("Normal", "VolumeUnplugged", f"Volume {entry.name} has been unplugged from the guest"))
            reason, text = _EVENTS[entry.phase]
            found.append(("Normal", reason, text.format(entry.name)))
        if entry.reason == FAILED and entry.message != was.message:
            found.append(("Warning", FAILED, f"volume {entry.name}: {entry.message}"))
    return tuple(found)
