"""What the handler does about hot-plugged volumes, and what it tells of them."""

from msgspec.structs import replace

from tests.virt.api.test_hotplug import DATA, MORE, ROOT, spec
from virt.api import v1
from virt.handler.vmi import hotplug
from virt.rpc.messages import DiskTarget, DomainState, DomainStatus

UID = "pod-uid"


def entry(name: str, phase: str, *, target: str = "") -> v1.VolumeStatus:
    return v1.VolumeStatus(
        name=name, phase=phase, target=target,
        hotplug_volume=v1.HotplugVolumeStatus(attach_pod_name="hp", attach_pod_uid=UID))


def vmi(*volumes: v1.Volume, entries: tuple[v1.VolumeStatus, ...]) -> v1.VirtualMachineInstance:
    return v1.VirtualMachineInstance(
        spec=spec(*volumes), status=v1.VirtualMachineInstanceStatus(volume_status=entries))


def domain(*in_guest: str, given: tuple[str, ...] = (), troubles: dict[str, str] | None = None) -> DomainStatus:
    return DomainStatus(
        state=DomainState.RUNNING, given=given, volumes_troubled=troubles or {},
        disks=tuple(DiskTarget(volume=name, target="vdb") for name in in_guest))


def phases(guest: v1.VirtualMachineInstance, now: DomainStatus) -> dict[str, str]:
    return {each.name: each.phase for each in hotplug.statuses(guest, guest.status.volume_status, now)}


def test_what_a_pod_has_mounted_is_given_and_asked_for() -> None:
    guest = vmi(ROOT, DATA, MORE, entries=(entry("data", "AttachedToNode"), entry("more", "Bound")))
    assert hotplug.todo(guest, domain("root")) == hotplug.Todo({"data": UID}, ("data",), is_due=True)


def test_nothing_is_due_once_the_guest_has_it() -> None:
    guest = vmi(DATA, entries=(entry("data", "Ready"),))
    assert hotplug.todo(guest, domain("data", given=("data",))) == hotplug.Todo({}, ("data",), is_due=False)


def test_what_is_asked_for_no_more_is_due_until_the_launcher_has_let_go() -> None:
    guest = vmi(ROOT, entries=(entry("data", "Detaching"),))
    for now in (domain("data", given=("data",)), domain(given=("data",))):
        assert hotplug.todo(guest, now) == hotplug.Todo({}, (), is_due=True)
    assert not hotplug.todo(guest, domain("root")).is_due


def test_one_that_leaves_is_no_more_wanted_although_it_was_named_again() -> None:
    guest = vmi(DATA, entries=(entry("data", "Detaching"),))
    assert hotplug.todo(guest, domain("data", given=("data",))).wanted == ()


def test_phases_follow_the_guest() -> None:
    guest = vmi(DATA, entries=(entry("data", "AttachedToNode"),))
    assert phases(guest, domain()) == {"data": "AttachedToNode"}
    assert phases(guest, domain(given=("data",))) == {"data": "MountedToPod"}
    assert phases(guest, domain("data", given=("data",))) == {"data": "Ready"}
    leaving = vmi(ROOT, entries=(entry("data", "Detaching", target="vdb"),))
    assert phases(leaving, domain("data", given=("data",))) == {"data": "Detaching"}
    assert phases(leaving, domain(given=("data",))) == {"data": "Detaching"}
    (left,) = hotplug.statuses(leaving, leaving.status.volume_status, domain())
    assert (left.phase, left.target) == ("UnMountedFromPod", "")


def test_other_volumes_are_left_alone() -> None:
    known = (v1.VolumeStatus(name="root", target="vda"),)
    assert hotplug.statuses(vmi(ROOT, entries=known), known, domain("root")) == known


def test_why_a_disk_does_not_come_is_told_and_taken_back() -> None:
    guest = vmi(DATA, entries=(entry("data", "MountedToPod"),))
    (told,) = hotplug.statuses(
        guest, guest.status.volume_status, domain(given=("data",), troubles={"data": "no slot"}))
    assert (told.phase, told.reason, told.message) == ("MountedToPod", "HotplugFailed", "no slot")
    (better,) = hotplug.statuses(guest, (told,), domain("data", given=("data",)))
    assert (better.phase, better.reason, better.message) == ("Ready", "", "")


def test_people_are_told_of_each_step() -> None:
    before = (entry("data", "AttachedToNode"), entry("old", "Detaching", target="vdb"), v1.VolumeStatus(name="root"))
    after = (entry("data", "Ready"), entry("old", "UnMountedFromPod"), v1.VolumeStatus(name="root", phase="x"))
    assert [reason for _, reason, _ in hotplug.events(before, after)] == [
        "VolumeReady", "VolumeUnplugged", "VolumeUnMountedFromPod"]
    assert hotplug.events(after, after) == ()
    failed = (replace(before[0], reason="HotplugFailed", message="no slot"),)
    assert hotplug.events(before, failed) == (("Warning", "HotplugFailed", "volume data: no slot"),)
