"""What is offered of mediated devices, and what a container gets for it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.virt.handler.mdev.test_sysfs import UUID, make
from virt.api import v1
from virt.handler.devices.pieces import PiecesOffer
from virt.handler.devices.resources import CharacterDevice, Device, DeviceGoneError, DeviceNode
from virt.handler.mdev.offers import MediatedDevices, offers
from virt.handler.mdev.sysfs import MediatedDevice
from virt.handler.sysfiles import DeviceNumber

NODE_DIR = Path("/var/run/kubevirt")
NAME, OTHER = "example.com/part", "example.com/other"
SECOND = UUID.replace("1001", "1002")


def part(uuid: str = UUID, group: str = "12", *, kind: str = "Half", api: str = "vfio-pci") -> MediatedDevice:
    return MediatedDevice(uuid=uuid, type="x-1", type_name=kind, api=api, group=group, numa_node=1,
                          number=DeviceNumber(241, int(group)) if group else None)


def asked(name: str = NAME, selector: str = "Half", *, external: bool = False) -> v1.MediatedHostDevice:
    return v1.MediatedHostDevice(
        resource_name=name, mdev_name_selector=selector, external_resource_provider=external)


def made(
    found: Sequence[MediatedDevice], *devices: v1.MediatedHostDevice, before: Mapping[str, PiecesOffer] | None = None,
    holders: Mapping[str, str] | None = None,
) -> dict[str, PiecesOffer]:
    permitted = v1.PermittedHostDevices(mediated_devices=devices or (asked(),))
    return {each.full_name: each for each in offers(permitted, found, before or {}, holders or {}, NODE_DIR)}


def test_devices_are_counted_by_their_type() -> None:
    found = made((part(), part(SECOND, "13", kind="Whole")))
    assert found[NAME].listed == (Device(UUID, True, 1),)


def test_a_container_gets_the_group_and_the_uuid() -> None:
    given = made((part(), part(SECOND, "13")))[NAME].given((SECOND, UUID))
    assert given.nodes == tuple(
        DeviceNode(NODE_DIR / "devices/mdev" / name, Path("/dev/vfio") / name) for name in ("vfio", "12", "13"))
    assert given.env == {"MDEV_PCI_RESOURCE_EXAMPLE_COM_PART": f"{UUID},{SECOND}"}


@pytest.mark.parametrize(("device", "holders", "trouble"), [
    (part(group=""), {}, "it has no IOMMU group"),
    (part(api="vfio-ccw"), {}, "guests would see it by vfio-ccw"),
    (part(), {UUID: OTHER}, f"a pod has it as {OTHER}"),
])
def test_a_device_that_no_guest_can_have_is_unhealthy(
    device: MediatedDevice, holders: Mapping[str, str], trouble: str
) -> None:
    offer = made((device,), holders=holders)[NAME]
    assert [each.is_healthy for each in offer.listed] == [False]
    with pytest.raises(DeviceGoneError, match=f"{UUID} of {NAME} cannot be given to a pod: {trouble}"):
        offer.given((UUID,))


def test_devices_that_share_a_group_are_unhealthy() -> None:
    offer = made((part(), part(SECOND)))[NAME]
    assert [each.is_healthy for each in offer.listed] == [False, False]


def test_a_device_belongs_to_one_resource() -> None:
    assert list(made((part(),), asked(NAME, "Half"), asked(OTHER, "x-1"))) == [NAME]


def test_what_somebody_else_serves_is_not_ours() -> None:
    assert made((part(),), asked(external=True)) == {}
    assert not MediatedDevices(NODE_DIR).is_wanted(
        v1.PermittedHostDevices(mediated_devices=(asked(external=True),)))


def test_a_device_that_vanishes_is_unhealthy_while_a_pod_has_it() -> None:
    before = made((part(), part(SECOND, "13")))
    kept = made((part(),), before=before, holders={SECOND: NAME})[NAME]
    assert [(each.id, each.is_healthy) for each in kept.listed] == [(UUID, True), (SECOND, False)]
    assert [each.id for each in made((part(),), before=before)[NAME].listed] == [UUID]


def test_a_look_makes_the_nodes_that_containers_get(tmp_path: Path) -> None:
    make(tmp_path)
    make(tmp_path, SECOND, group="")
    kind = MediatedDevices(NODE_DIR, tmp_path)
    seen = kind.look(v1.PermittedHostDevices(mediated_devices=(asked(NAME, "Dual_port_serial"),)), {}, {})
    assert [(each.id, each.is_healthy) for each in seen.offers[0].listed] == [(UUID, True), (SECOND, False)]
    folder = NODE_DIR / "devices/mdev"
    assert seen.nodes == (CharacterDevice(folder / "12", 241, 12), CharacterDevice(folder / "vfio", 10, 196))
    assert [SECOND in trouble for trouble in seen.troubles] == [True]
