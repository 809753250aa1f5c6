"""Volumes that are added to a guest while it runs: what is refused, and the texts that clients compare."""

import pytest

from tests.virt.api.test_hotplug import DATA, ROOT, spec
from virt.api import v1
from virt.api.validate import hotplug as rules


@pytest.mark.parametrize("disk", [
    v1.Disk(name="data", disk=v1.DiskTarget(bus="scsi")), v1.Disk(name="data", disk=v1.DiskTarget(bus="virtio")),
    v1.Disk(name="data", lun=v1.LunTarget(bus="scsi")),
])
def test_two_buses_are_plugged(disk: v1.Disk) -> None:
    assert list(rules.disk_cause("disks[0]", disk)) == []


@pytest.mark.parametrize("disk", [
    v1.Disk(name="data", disk=v1.DiskTarget(bus="sata")), v1.Disk(name="data", disk=v1.DiskTarget()),
    v1.Disk(name="data"), v1.Disk(name="data", lun=v1.LunTarget(bus="usb")),
])
def test_others_are_not(disk: v1.Disk) -> None:
    (cause,) = rules.disk_cause("disks[0]", disk)
    assert cause.field == "disks[0].disk.bus"
    assert "hotplugged Disk data requires bus to be 'scsi' or 'virtio'" in cause.message


def test_nor_is_a_cdrom() -> None:
    (cause,) = rules.disk_cause("disks[0]", v1.Disk(name="data", cdrom=v1.CDRomTarget(bus="scsi")))
    assert cause.field == "disks[0].cdrom"


def test_only_disks_of_hot_plugged_volumes_are_looked_at() -> None:
    causes = list(rules.disk_causes("spec", spec(ROOT, DATA)))
    assert [cause.field for cause in causes] == ["spec.domain.devices.disks[1].disk.bus"]


def test_a_name_and_a_claim_are_used_once() -> None:
    there = (ROOT, DATA, v1.Volume(name="dv", data_volume=v1.DataVolumeSource(name="imported")))
    assert rules.why_not_added(there, "root", "new") == (
        "Unable to add volume [root] because volume with that name already exists")
    for claim in ("data", "imported"):
        assert rules.why_not_added(there, "new", claim) == (
            f"Unable to add volume source [{claim}] because it already exists")
    assert rules.why_not_added(there, "new", "new") == ""


def test_only_what_was_plugged_is_removed() -> None:
    assert rules.why_not_removed((ROOT, DATA), "nothing") == (
        "Unable to remove volume [nothing] because it does not exist")
    assert rules.why_not_removed((ROOT, DATA), "root") == (
        "Unable to remove volume [root] because it is not hotpluggable")
    assert rules.why_not_removed((ROOT, DATA), "data") == ""
