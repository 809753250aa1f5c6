"""What is offered of USB devices, what a container gets, and who keeps what while devices come and go."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.virt.handler.usb.test_sysfs import plug
from virt.api import v1
from virt.handler.devices.pieces import PiecesOffer
from virt.handler.devices.resources import CharacterDevice, Device, DeviceGoneError, DeviceNode
from virt.handler.usb.offers import UsbDevices, offers
from virt.handler.usb.sysfs import UsbDevice

NODE_DIR = Path("/var/run/kubevirt")
NAME, OTHER = "example.com/stick", "example.com/other"


def stick(port: str, product: str = "0001", *, number: int = 3, is_hub: bool = False) -> UsbDevice:
    bus = int(port.partition("-")[0])
    return UsbDevice(port=port, vendor="46f4", product=product, bus=bus, number=number, major=189,
                     minor=(bus - 1) * 128 + number - 1, is_hub=is_hub)


def asked(name: str = NAME, *products: str, external: bool = False) -> v1.USBHostDevice:
    selectors = tuple(v1.USBSelector(vendor="46F4", product=product) for product in products or ("0001",))
    return v1.USBHostDevice(resource_name=name, selectors=selectors, external_resource_provider=external)


def made(
    found: Sequence[UsbDevice], *usb: v1.USBHostDevice, before: Mapping[str, PiecesOffer] | None = None,
    holders: Mapping[str, str] | None = None,
) -> dict[str, PiecesOffer]:
    permitted = v1.PermittedHostDevices(usb=usb or (asked(),))
    return {each.full_name: each for each in offers(permitted, found, before or {}, holders or {}, NODE_DIR)}


def test_devices_are_counted_by_their_ids() -> None:
    found = made((stick("1-1"), stick("1-2", "0002"), stick("1-3")))
    assert found[NAME].listed == (Device("1-1"), Device("1-3"))


def test_a_container_gets_the_device_nodes_and_where_they_are() -> None:
    offer = made((stick("1-2", number=4), stick("1-10", number=17)))[NAME]
    given = offer.given(("1-10", "1-2"))
    assert given.nodes == (
        DeviceNode(NODE_DIR / "devices/usb/001-004", Path("/dev/bus/usb/001/004")),
        DeviceNode(NODE_DIR / "devices/usb/001-017", Path("/dev/bus/usb/001/017")))
    assert given.env == {"USB_RESOURCE_EXAMPLE_COM_STICK": "1:4,1:17"}


def test_one_of_each_selector_makes_one() -> None:
    found = (stick("1-1"), stick("1-2"), stick("1-3", "0002", number=9), stick("1-4"))
    offer = made(found, asked(NAME, "0002", "0001"))[NAME]
    assert offer.listed == (Device("1-3+1-1"),)
    assert offer.given(("1-3+1-1",)).env == {"USB_RESOURCE_EXAMPLE_COM_STICK": "1:9,1:3"}


def test_two_of_the_same_ids_are_two_devices() -> None:
    assert made((stick("1-1"),), asked(NAME, "0001", "0001")) == {}
    assert made((stick("1-1"), stick("1-2")), asked(NAME, "0001", "0001"))[NAME].listed == (Device("1-1+1-2"),)


def test_a_resource_may_be_made_in_several_ways() -> None:
    found = made((stick("1-1"), stick("1-2", "0002")), asked(NAME, "0001"), asked(NAME, "0002"))
    assert found[NAME].listed == (Device("1-1"), Device("1-2"))


def test_a_device_belongs_to_one_resource() -> None:
    found = made((stick("1-1"),), asked(NAME), asked(OTHER, "0001"))
    assert list(found) == [NAME]


def test_what_somebody_else_serves_is_not_ours() -> None:
    assert made((stick("1-1"),), asked(external=True)) == {}
    assert not UsbDevices(NODE_DIR).is_wanted(v1.PermittedHostDevices(usb=(asked(external=True),)))


def test_a_hub_is_given_to_nobody() -> None:
    offer = made((stick("1-1", is_hub=True),))[NAME]
    assert offer.listed == (Device("1-1", is_healthy=False),)
    with pytest.raises(DeviceGoneError, match=r"1-1 of example.com/stick cannot be given to a pod: 1-1 is a hub"):
        offer.given(("1-1",))


def test_a_device_that_a_pod_has_under_another_name_is_not_given_again() -> None:
    """Its resource was taken out of the KubeVirt object, and it was permitted anew under another name."""
    offer = made((stick("1-1"), stick("1-2")), holders={"1-1+1-9": OTHER, "1-2": NAME})[NAME]
    assert offer.listed == (Device("1-1", is_healthy=False), Device("1-2"))
    with pytest.raises(DeviceGoneError, match=f"a pod has it as {OTHER}"):
        offer.given(("1-1",))


def test_a_device_that_vanishes_is_unhealthy_while_a_pod_has_it() -> None:
    before = made((stick("1-1"), stick("1-2")))
    assert made((stick("1-2"),), before=before, holders={"1-1": NAME})[NAME].listed == (
        Device("1-1", is_healthy=False), Device("1-2"))
    assert made((stick("1-2"),), before=before)[NAME].listed == (Device("1-2"),)
    assert made((), before=before) == {}


def test_devices_stay_together_while_others_come() -> None:
    pair = asked(NAME, "0001", "0002")
    before = made((stick("1-3"), stick("1-4", "0002")), pair)
    now = made((stick("1-1"), stick("1-3"), stick("1-4", "0002"), stick("1-5", "0002")), pair, before=before)
    assert [device.id for device in now[NAME].listed] == ["1-1+1-5", "1-3+1-4"]


def test_half_of_a_pair_serves_in_another_pair_unless_a_pod_has_it() -> None:
    pair = asked(NAME, "0001", "0002")
    before = made((stick("1-3"), stick("1-4", "0002")), pair)
    left = (stick("1-3"), stick("1-7", "0002"))
    assert [device.id for device in made(left, pair, before=before)[NAME].listed] == ["1-3+1-7"]
    kept = made(left, pair, before=before, holders={"1-3+1-4": NAME})[NAME]
    assert kept.listed == (Device("1-3+1-4", is_healthy=False),)


def test_another_device_at_the_port_is_another() -> None:
    before = made((stick("1-1"),))
    assert made((stick("1-1", "0002"),), before=before) == {}


def test_a_look_makes_the_nodes_that_containers_get(tmp_path: Path) -> None:
    plug(tmp_path, "1-2", number=4)
    plug(tmp_path, "1-3", number=5, kind="09")
    kind = UsbDevices(NODE_DIR, tmp_path)
    seen = kind.look(v1.PermittedHostDevices(usb=(asked(),)), {}, {})
    assert seen.nodes == (CharacterDevice(NODE_DIR / "devices/usb/001-004", 189, 3),)
    assert seen.troubles == (
        "USB device 1-3 of example.com/stick is not given to guests: 1-3 is a hub: what is plugged in there would go "
        "along",)
    again = kind.look(v1.PermittedHostDevices(usb=(asked(),)), {each.full_name: each for each in seen.offers}, {})
    assert again == seen
