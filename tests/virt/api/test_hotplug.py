"""Which volumes are hot-plugged, and how they come into a spec and leave it."""

from virt.api import hotplug, v1

Status = v1.VolumeStatus


def volume(name: str, claim: str = "", *, hotpluggable: bool = True) -> v1.Volume:
    return v1.Volume(name=name, persistent_volume_claim=v1.PersistentVolumeClaimVolumeSource(
        claim_name=claim or name, hotpluggable=hotpluggable))


def spec(*volumes: v1.Volume) -> v1.VirtualMachineInstanceSpec:
    disks = tuple(v1.Disk(name=each.name) for each in volumes)
    return v1.VirtualMachineInstanceSpec(domain=v1.DomainSpec(devices=v1.Devices(disks=disks)), volumes=volumes)


def names(given: v1.VirtualMachineInstanceSpec) -> tuple[list[str], list[str]]:
    return [each.name for each in given.volumes], [each.name for each in given.domain.devices.disks]


ROOT, DATA, MORE = volume("root", hotpluggable=False), volume("data"), volume("more", "other")


def test_only_claims_that_say_so_are_hot_plugged() -> None:
    given = spec(ROOT, v1.Volume(name="empty", empty_disk=v1.EmptyDiskSource(capacity="1Mi")), DATA, MORE)
    assert hotplug.claims(given) == {"data": "data", "more": "other"}
    assert list(hotplug.parts(given)) == ["data", "more"]


def test_a_spec_without_them_has_neither_volume_nor_disk() -> None:
    given = spec(ROOT, DATA, MORE)
    assert names(hotplug.without(given)) == (["root"], ["root"])
    assert names(hotplug.without(given, frozenset({"more"}))) == (["root", "data"], ["root", "data"])
    assert hotplug.without(spec(ROOT)) == spec(ROOT)


def test_one_that_is_added_is_the_last() -> None:
    given = hotplug.added(spec(ROOT), DATA, v1.Disk(name="data", serial="x"))
    assert names(given) == (["root", "data"], ["root", "data"])
    assert given.domain.devices.disks[1].serial == "x"


def test_what_a_guest_may_have_is_told_by_the_status() -> None:
    def entry(name: str, phase: str, claim: str = "") -> Status:
        return Status(name=name, phase=phase, hotplug_volume=v1.HotplugVolumeStatus(),
                      persistent_volume_claim_info=v1.PersistentVolumeClaimInfo(claim_name=claim))

    vmi = v1.VirtualMachineInstance(spec=spec(ROOT, DATA, MORE), status=v1.VirtualMachineInstanceStatus(volume_status=(
        Status(name="root"), entry("data", "Ready", "stale"), entry("more", "AttachedToNode"),
        entry("leaving", "Detaching", "old"), entry("left", "UnMountedFromPod", "older"))))
    assert hotplug.held(vmi) == {"data": "data", "leaving": "old"}
