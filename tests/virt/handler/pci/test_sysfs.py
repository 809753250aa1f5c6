from pathlib import Path

import pytest

from tests.fakes.sysfs import PF, FakeKernel
from virt.handler.pci import sysfs as module
from virt.handler.pci.sysfs import PciError, Sysfs
from virt.handler.sysfiles import DeviceNumber


@pytest.fixture
def kernel(tmp_path: Path) -> FakeKernel:
    kernel = FakeKernel(tmp_path / "sys")
    kernel.card(PF, "eth1", numa=1)
    return kernel


def test_a_card_and_its_functions_are_read(kernel: FakeKernel) -> None:
    kernel.sysfs.set_count(PF, 5)
    found = {device.address: device for device in kernel.sysfs.devices()}
    card = found[PF]
    assert (card.ids, card.driver, card.card, card.cards) == ("8086:10c9", "igb", "eth1", (("eth1", "up"),))
    assert (card.most_virtual, card.numa_node, card.physical) == (7, 1, "")
    assert card.virtual == tuple(f"0000:01:{slot}" for slot in ("10.0", "10.2", "10.4", "10.6", "11.0"))
    function = found["0000:01:10.2"]
    assert (function.ids, function.physical, function.driver, function.group) == ("8086:10ca", PF, "", "13")


def test_functions_are_counted_and_not_spelt(kernel: FakeKernel) -> None:
    """virtfn10 comes after virtfn9."""
    kernel.card("0000:05:00.0", "eth5", most=12)
    kernel.sysfs.set_count("0000:05:00.0", 12)
    card = next(device for device in kernel.sysfs.devices() if device.address == "0000:05:00.0")
    assert card.virtual[9:] == ("0000:05:12.2", "0000:05:12.4", "0000:05:12.6")


def test_another_number_goes_through_none_and_no_driver_takes_them_first(kernel: FakeKernel) -> None:
    kernel.sysfs.set_count(PF, 2)
    kernel.sysfs.set_count(PF, 3)
    assert [write for write in kernel.written if write[0].endswith("sriov_numvfs")][-2:] == [
        (f"devices/{PF}/sriov_numvfs", "0"), (f"devices/{PF}/sriov_numvfs", "3")]
    assert kernel.written[0] == (f"devices/{PF}/sriov_drivers_autoprobe", "0")


def test_a_number_that_the_card_cannot_have_is_told(kernel: FakeKernel) -> None:
    with pytest.raises(PciError, match=f"{PF} cannot have 8 virtual functions: .*out of range"):
        kernel.sysfs.set_count(PF, 8)


def test_a_function_changes_its_driver(kernel: FakeKernel) -> None:
    kernel.load("vfio-pci")
    kernel.load("igbvf")
    kernel.sysfs.set_count(PF, 1)
    address = "0000:01:10.0"
    kernel.bound(address, "igbvf")
    kernel.sysfs.bind(address)
    function = next(device for device in kernel.sysfs.devices() if device.address == address)
    assert function.is_for_guests
    assert kernel.sysfs.group_number(function.group) == DeviceNumber(241, int(function.group))
    assert kernel.sysfs.control_number() == DeviceNumber(10, 196)


def test_a_node_without_vfio_says_so(kernel: FakeKernel) -> None:
    kernel.sysfs.set_count(PF, 1)
    with pytest.raises(PciError, match=r"0000:01:10\.0 .* has not loaded vfio-pci"):
        kernel.sysfs.bind("0000:01:10.0")
    assert kernel.sysfs.control_number() is None


def test_a_driver_that_does_not_take_the_function_is_an_error(kernel: FakeKernel) -> None:
    kernel.load("vfio-pci")
    kernel.sysfs.set_count(PF, 1)
    kernel.refuses["drivers_probe"] = OSError(22, "Invalid argument")
    with pytest.raises(PciError, match=r"0000:01:10\.0 cannot be bound to vfio-pci: .*Invalid argument"):
        kernel.sysfs.bind("0000:01:10.0")


def test_what_changes_is_seen_by_the_same_reader(kernel: FakeKernel) -> None:
    """What a device is was kept from the look before."""
    kernel.load("vfio-pci")
    sysfs = kernel.sysfs
    assert [device.virtual for device in sysfs.devices()] == [()]
    sysfs.set_count(PF, 1)
    address = "0000:01:10.0"
    assert [device.driver for device in sysfs.devices()] == ["igb", ""]
    sysfs.bind(address)
    kernel.link(PF, "eth1", "down")
    card, function = sysfs.devices()
    assert (card.virtual, card.cards) == ((address,), (("eth1", "down"),))
    assert (function.driver, function.physical) == ("vfio-pci", PF)
    sysfs.set_count(PF, 0)
    assert [device.address for device in sysfs.devices()] == [PF]


def test_another_device_at_the_address_is_another(kernel: FakeKernel) -> None:
    sysfs = kernel.sysfs
    kernel.device("0000:07:00.0", "10de:1eb8", driver="nouveau")
    sysfs.devices()
    kernel.remove("0000:07:00.0")
    kernel.device("0000:07:00.0", "10de:2204", driver="nouveau")
    assert sysfs.devices()[-1].ids == "10de:2204"


def test_what_a_device_is_is_read_once(kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    sysfs = kernel.sysfs
    before = sysfs.devices()
    monkeypatch.setattr(module, "_fixed", lambda folder: pytest.fail(f"{folder} was read again"))
    assert sysfs.devices() == before


def test_a_machine_without_pci_has_no_devices(tmp_path: Path) -> None:
    assert Sysfs(tmp_path / "nothing").devices() == ()
