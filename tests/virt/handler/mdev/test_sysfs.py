"""Mediated devices read from a tree that looks like sysfs."""

from pathlib import Path

from virt.handler.mdev import sysfs
from virt.handler.mdev.sysfs import MediatedDevice
from virt.handler.sysfiles import DeviceNumber

UUID = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"


def make(
    root: Path, uuid: str = UUID, kind: str = "mtty-2", *, name: str = "Dual port serial", group: str = "12",
    numa: int = -1, api: str = "vfio-pci",
) -> None:
    """A device as the driver mtty makes it, and its parent if that is not there."""
    parent = root / "devices" / "virtual" / "mtty" / "mtty"
    kinds = parent / "mdev_supported_types" / kind
    kinds.mkdir(parents=True, exist_ok=True)
    (parent / "numa_node").write_text(f"{numa}\n")
    (kinds / "device_api").write_text(f"{api}\n")
    if name:
        (kinds / "name").write_text(f"{name}\n")
    folder = parent / uuid
    folder.mkdir()
    (folder / "mdev_type").symlink_to(f"../mdev_supported_types/{kind}")
    if group:
        (folder / "iommu_group").symlink_to(f"../../../../../kernel/iommu_groups/{group}")
        number = root / "class" / "vfio" / group / "dev"
        number.parent.mkdir(parents=True, exist_ok=True)
        number.write_text(f"241:{group}\n")
    listed = root / "bus" / "mdev" / "devices"
    listed.mkdir(parents=True, exist_ok=True)
    (listed / uuid).symlink_to(folder)
    control = root / "class" / "misc" / "vfio" / "dev"
    control.parent.mkdir(parents=True, exist_ok=True)
    control.write_text("10:196\n")


def test_a_device_is_read_whole(tmp_path: Path) -> None:
    make(tmp_path, numa=1)
    assert sysfs.devices(tmp_path) == (MediatedDevice(
        uuid=UUID, type="mtty-2", type_name="Dual port serial", group="12", number=DeviceNumber(241, 12), numa_node=1,
        parent="mtty"),)
    assert sysfs.control_number(tmp_path) == DeviceNumber(10, 196)


def test_a_type_without_a_name_and_a_device_without_a_group(tmp_path: Path) -> None:
    make(tmp_path, name="", group="")
    (found,) = sysfs.devices(tmp_path)
    assert (found.type_name, found.group, found.number, found.numa_node) == ("", "", None, None)


def test_a_type_is_known_by_its_name_and_by_the_kernels() -> None:
    device = MediatedDevice(uuid=UUID, type="nvidia-222", type_name="GRID T4-1B")
    assert [device.is_called(text) for text in ("GRID T4-1B", "GRID_T4-1B", "nvidia-222", "GRID", "")] == [
        True, True, True, False, False]


def test_a_device_that_just_goes_is_left_out(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "bus/mdev/devices/gone").symlink_to(tmp_path / "nothing")
    assert [device.uuid for device in sysfs.devices(tmp_path)] == [UUID]


def test_a_kernel_without_them_has_none(tmp_path: Path) -> None:
    assert (sysfs.devices(tmp_path), sysfs.control_number(tmp_path)) == ((), None)
