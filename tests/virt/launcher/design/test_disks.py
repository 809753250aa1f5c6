from typing import Any

import pytest

from tests.virt.launcher.design.requests import EMULATED, disk_vmi, prepared, vmi
from virt.launcher import design
from virt.launcher.alias import name_of
from virt.launcher.design import DiskSource
from virt.launcher.domain import Disk

QCOW2 = DiskSource("/d/a.qcow2", "qcow2")


def only_disk(disk: dict[str, Any], source: DiskSource) -> Disk:
    domain = design.domain_for(disk_vmi({"name": "a", **disk}), EMULATED, prepared(a=source))
    assert domain.devices is not None
    (made,) = domain.devices.disks
    return made


def test_targets_count_per_kind_of_bus() -> None:
    given = disk_vmi(
        {"name": "a", "disk": {"bus": "virtio"}}, {"name": "b"}, {"name": "c", "disk": {"bus": "scsi"}},
        {"name": "d", "disk": {"bus": "virtio"}}, {"name": "e", "cdrom": {}},
    )
    assert [(each.volume, each.target) for each in design.disk_targets(given)] == [
        ("a", "vda"), ("b", "sda"), ("c", "sdb"), ("d", "vdb"), ("e", "sdc"),
    ]


def test_letters_go_on_after_z() -> None:
    given = disk_vmi(*({"name": f"d{index}", "disk": {"bus": "virtio"}} for index in range(703)))
    targets = [each.target for each in design.disk_targets(given)]
    assert [targets[index] for index in (0, 25, 26, 51, 52, 701, 702)] == [
        "vda", "vdz", "vdaa", "vdaz", "vdba", "vdzz", "vdaaa",
    ]


def test_targets_are_those_of_the_domain() -> None:
    given = disk_vmi({"name": "a", "disk": {"bus": "virtio"}}, {"name": "b", "cdrom": {}})
    domain = design.domain_for(given, EMULATED, prepared(a=QCOW2, b=QCOW2))
    assert domain.devices is not None
    assert [(name_of(disk.alias), disk.target) for disk in domain.devices.disks] == [
        (each.volume, each.target) for each in design.disk_targets(given)
    ]


@pytest.mark.parametrize(("disk", "direct_io", "cache", "io"), [
    ({}, None, "", ""),
    ({}, True, "none", ""),
    ({}, False, "writethrough", ""),
    ({"cache": "writeback"}, True, "writeback", ""),
    ({"cache": "none"}, None, "none", ""),
    ({"io": "native"}, None, "none", "native"),
    ({"io": "threads"}, False, "writethrough", "threads"),
    ({"shareable": True}, None, "none", ""),
])
def test_cache_and_io(disk: dict[str, Any], direct_io: bool | None, cache: str, io: str) -> None:
    made = only_disk(disk, DiskSource("/d/a", "raw", direct_io=direct_io))
    assert (made.cache, made.io) == (cache, io)


def test_device_with_direct_io_is_read_natively() -> None:
    made = only_disk({}, DiskSource("/dev/a", "raw", kind="block", direct_io=True))
    assert (made.type, made.device_path, made.file, made.cache, made.io) == ("block", "/dev/a", "", "none", "native")


@pytest.mark.parametrize(("disk", "source", "io"), [
    ({}, DiskSource("/d/a", "raw", direct_io=True, preallocated=True), "native"),
    ({}, DiskSource("/d/a", "qcow2", direct_io=True, preallocated=True), ""),
    ({"io": "threads"}, DiskSource("/d/a", "raw", direct_io=True, preallocated=True), "threads"),
    ({"cache": "writeback"}, DiskSource("/d/a", "raw", direct_io=True, preallocated=True), ""),
])
def test_a_file_with_all_its_blocks_is_read_natively(disk: dict[str, Any], source: DiskSource, io: str) -> None:
    assert only_disk(disk, source).io == io


@pytest.mark.parametrize(("multi", "vcpus", "queues"), [(True, 2, 2), (None, 2, 1), (None, 1, None), (True, 1, 1)])
def test_a_virtio_disk_has_the_queues_that_were_asked_for(multi: bool | None, vcpus: int, queues: int | None) -> None:
    domain = {"cpu": {"sockets": vcpus}, "devices": {
        "blockMultiQueue": multi, "autoattachPodInterface": False,
        "disks": [{"name": "a", "disk": {"bus": "virtio"}}, {"name": "b"}]}}
    volumes = [{"name": name, "emptyDisk": {"capacity": "1Gi"}} for name in "ab"]
    made = design.domain_for(vmi(domain, volumes=volumes), EMULATED, prepared(a=QCOW2, b=QCOW2))
    assert made.devices is not None
    assert [disk.queues for disk in made.devices.disks] == [queues, None]


@pytest.mark.parametrize(("disk", "source", "field"), [
    ({"cache": "none"}, DiskSource("/d/a", "raw", direct_io=False), r"disks\[0\]\.cache"),
    ({"io": "native"}, DiskSource("/d/a", "raw", direct_io=False), r"disks\[0\]\.io"),
    ({"io": "native", "cache": "writeback"}, QCOW2, r"disks\[0\]\.io"),
    ({"shareable": True, "cache": "writeback"}, QCOW2, r"disks\[0\]\.cache"),
    ({"shareable": True}, QCOW2, r"disks\[0\]\.shareable: a shared disk must be raw"),
    ({"shareable": True}, DiskSource("/d/a", "raw", direct_io=False), r"disks\[0\]\.shareable"),
    ({"disk": {"bus": "sata"}}, DiskSource("/d/a", "raw", read_only=True), r"disks\[0\]\.disk\.bus"),
    ({"disk": {"bus": "ide"}}, QCOW2, r"disks\[0\]\.disk\.bus"),
    ({"disk": {"bus": "sata", "pciAddress": "0000:00:10.0"}}, QCOW2, r"disks\[0\]\.disk\.pciAddress"),
    ({"disk": {"bus": "virtio", "pciAddress": "somewhere"}}, QCOW2, r"disks\[0\]\.disk\.pciAddress"),
])
def test_what_cannot_be_had_is_refused_by_field(disk: dict[str, Any], source: DiskSource, field: str) -> None:
    with pytest.raises(design.DesignError, match=f"spec.domain.devices.{field}"):
        only_disk(disk, source)


def test_image_made_for_the_guest_may_be_a_sata_disk() -> None:
    """The bus that a volume gets which no disk names; SATA has no read-only disks."""
    given = vmi({"devices": {"autoattachPodInterface": False}}, volumes=[{"name": "a", "cloudInitNoCloud": {}}])
    domain = design.domain_for(given, EMULATED, prepared(a=DiskSource("/d/a.iso", "raw", read_only=True)))
    assert domain.devices is not None
    assert [(disk.bus, disk.read_only) for disk in domain.devices.disks] == [("sata", False)]


def test_volume_that_is_not_ready_is_named() -> None:
    with pytest.raises(design.DesignError, match=r"disks\[1\]\.name: volume 'b'"):
        design.domain_for(disk_vmi({"name": "a"}, {"name": "b"}), EMULATED, prepared(a=QCOW2))
