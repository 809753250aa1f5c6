"""What is offered of permitted devices, and what a container gets for it."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace as changed

from virt.api import v1
from virt.handler.devices.resources import Device, DeviceGoneError, DeviceNode
from virt.handler.pci.model import PciDevice
from virt.handler.pci.offers import PassedThrough, permitted

NODE_DIR = Path("/var/run/kubevirt")
CARD = v1.PciHostDevice(pci_vendor_selector="8086:10CA", resource_name="example.com/card")


def device(address: str, ids: str = "8086:10ca", *, driver: str = "vfio-pci", group: str = "",
           class_code: str = "020000", numa_node: int | None = None) -> PciDevice:
    vendor, _, code = ids.partition(":")
    return PciDevice(
        address=address, vendor=vendor, device=code, driver=driver, group=group or address[5:7], class_code=class_code,
        numa_node=numa_node)


def offers(
    found: Sequence[PciDevice], *asked: v1.PciHostDevice, before: Sequence[PassedThrough] = (),
    taken: Sequence[str] = (),
) -> dict[str, PassedThrough]:
    made = permitted(
        v1.PermittedHostDevices(pci_host_devices=asked or (CARD,)), found,
        {offer.full_name: offer for offer in before}, NODE_DIR, taken=taken)
    return {offer.full_name: offer for offer in made}


def test_devices_on_vfio_are_counted_by_their_ids() -> None:
    found = (device("0000:01:00.0", numa_node=1), device("0000:02:00.0", driver="igbvf"),
             device("0000:03:00.0", "10de:1eb8"))
    assert offers(found)["example.com/card"].listed == (Device("0000:01:00.0", True, 1),)


def test_a_container_gets_the_group_and_the_addresses() -> None:
    offer = offers((device("0000:01:00.0"), device("0000:02:00.0")))["example.com/card"]
    given = offer.given(("0000:02:00.0", "0000:01:00.0"))
    assert given.nodes == (
        DeviceNode(NODE_DIR / "devices/vfio/vfio", Path("/dev/vfio/vfio")),
        DeviceNode(NODE_DIR / "devices/vfio/01", Path("/dev/vfio/01")),
        DeviceNode(NODE_DIR / "devices/vfio/02", Path("/dev/vfio/02")),
    )
    assert given.env == {"PCI_RESOURCE_EXAMPLE_COM_CARD": "0000:01:00.0,0000:02:00.0"}


def test_two_selectors_of_one_name_are_one_resource() -> None:
    other = v1.PciHostDevice(pci_vendor_selector="10de:1eb8", resource_name="example.com/card")
    found = (device("0000:01:00.0"), device("0000:03:00.0", "10de:1eb8"))
    assert len(offers(found, CARD, other)["example.com/card"].listed) == 2


@pytest.mark.parametrize("found", [(), (device("0000:01:00.0", "10de:1eb8"),)])
def test_a_node_without_such_a_device_offers_nothing(found: tuple[PciDevice, ...]) -> None:
    assert offers(found) == {}


def test_what_another_plugin_serves_is_not_ours() -> None:
    assert offers((device("0000:01:00.0"),), changed(CARD, external_resource_provider=True)) == {}


def test_what_another_resource_has_is_not_offered_twice() -> None:
    assert offers((device("0000:01:00.0"),), taken=("0000:01:00.0",)) == {}


def test_devices_of_one_group_are_given_to_nobody() -> None:
    found = (device("0000:01:00.0", group="7"), device("0000:01:00.1", "10de:10f8", group="7", driver="snd"),
             device("0000:00:01.0", "8086:1901", group="7", class_code="060400", driver="pcieport"))
    offer = offers(found)["example.com/card"]
    assert offer.listed == (Device("0000:01:00.0", False),)
    with pytest.raises(DeviceGoneError, match="1 other devices share its IOMMU group 7"):
        offer.given(("0000:01:00.0",))


def test_a_bridge_may_be_in_the_group() -> None:
    found = (device("0000:01:00.0", group="7"),
             device("0000:00:01.0", "8086:1901", group="7", class_code="060400", driver="pcieport"))
    assert offers(found)["example.com/card"].listed == (Device("0000:01:00.0", True),)


def test_a_device_that_vanishes_stays_in_the_list_as_unhealthy_and_comes_back() -> None:
    both = (device("0000:01:00.0"), device("0000:02:00.0"))
    before = offers(both)["example.com/card"]
    after = offers(both[:1], before=(before,))["example.com/card"]
    assert after.listed == (Device("0000:01:00.0", True), Device("0000:02:00.0", False))
    with pytest.raises(DeviceGoneError, match=r"0000:02:00\.0 of example\.com/card .* it is gone"):
        after.given(("0000:02:00.0",))
    assert offers(both, before=(after,))["example.com/card"] == before


def test_a_device_that_goes_to_another_driver_is_unhealthy() -> None:
    before = offers((device("0000:01:00.0"),))["example.com/card"]
    after = offers((device("0000:01:00.0", driver="igbvf"),), before=(before,))["example.com/card"]
    assert after.listed == (Device("0000:01:00.0", False),)
    assert after.functions[0].trouble == "its driver is igbvf, not vfio-pci"


def test_a_selector_that_is_taken_away_takes_its_devices_along() -> None:
    other = v1.PciHostDevice(pci_vendor_selector="10de:1eb8", resource_name="example.com/card")
    found = (device("0000:01:00.0"), device("0000:03:00.0", "10de:1eb8"))
    before = offers(found, CARD, other)["example.com/card"]
    assert [each.id for each in offers(found, other, before=(before,))["example.com/card"].listed] == ["0000:03:00.0"]


def test_without_an_iommu_nothing_can_be_given() -> None:
    bare = PciDevice(address="0000:01:00.0", vendor="8086", device="10ca", driver="vfio-pci")
    assert offers((bare,))["example.com/card"].functions[0].trouble.startswith("it has no IOMMU group")
