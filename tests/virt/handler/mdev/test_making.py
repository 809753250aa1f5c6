"""Which mediated devices a node makes and removes."""

from pathlib import Path

import pytest

from tests.fakes.kube import FakeKube
from tests.virt.handler.mdev.test_sysfs import UUID, make
from tests.virt.handler.pci.test_allocations import checkpoint, entry
from virt.api import core, v1
from virt.api.kinds import NODE
from virt.handler.mdev import making, sysfs
from virt.handler.mdev.making import Make, Remove, steps, wanted_types
from virt.handler.mdev.service import MediatedMaker
from virt.handler.mdev.sysfs import Makeable, MediatedDevice
from virt.handler.pci.allocations import CHECKPOINT

SECOND = UUID.replace("1001", "1002")


def kind(parent: str, name: str, available: int = 4) -> Makeable:
    return Makeable(parent, name, f"GRID {name}", available)


def device(parent: str, name: str, uuid: str = UUID) -> MediatedDevice:
    return MediatedDevice(uuid=uuid, type=name, type_name=f"GRID {name}", parent=parent)


BOTH = tuple(kind(parent, name) for parent in ("gpu0", "gpu1") for name in ("big", "small"))


def test_a_nodes_own_types_take_the_place_of_the_clusters() -> None:
    asked = v1.MediatedDevicesConfiguration(
        mediated_device_types=("a",), mediated_devices_types=("a", "b"),
        node_mediated_device_types=(
            v1.NodeMediatedDeviceTypes(node_selector={"gpu": "big"}, mediated_device_types=("c",)),
            v1.NodeMediatedDeviceTypes(node_selector={"zone": "1"}, mediated_devices_types=("d", "c")),
            v1.NodeMediatedDeviceTypes(mediated_device_types=("never",)),
        ))
    assert wanted_types(asked, {}) == ("a", "b")
    assert wanted_types(asked, {"gpu": "big"}) == ("c",)
    assert wanted_types(asked, {"gpu": "big", "zone": "1"}) == ("c", "d")


def test_each_parent_makes_one_type_and_types_are_dealt_out() -> None:
    assert steps(("GRID_big", "small"), BOTH, (), ()) == (Make(kind("gpu0", "big")), Make(kind("gpu1", "small")))


def test_a_parent_goes_on_with_what_it_makes() -> None:
    found = steps(("big", "small"), BOTH, (device("gpu0", "small"),), ())
    assert found == (Make(kind("gpu0", "small")), Make(kind("gpu1", "big")))


def test_a_parent_that_is_full_makes_nothing() -> None:
    assert steps(("big",), (kind("gpu0", "big", 0),), (device("gpu0", "big"),), ()) == ()


def test_other_types_go_first_unless_a_pod_has_them() -> None:
    found = (device("gpu0", "small"), device("gpu1", "small", SECOND))
    assert steps(("big",), BOTH, found, {UUID}) == (Remove(SECOND),)
    assert steps(("big",), BOTH, found[:1], {UUID}) == (Make(kind("gpu1", "big")),)


class Stand:
    def __init__(self, folder: Path) -> None:
        self.root = folder / "sys"
        self.kubelet = folder
        self.asked = v1.MediatedDevicesConfiguration(mediated_device_types=("mtty-2",))
        self.told: list[str] = []
        node = core.Node(metadata=core.ObjectMeta(name="n"))
        self.maker = MediatedMaker(
            FakeKube((NODE, node)), "n", self.kubelet, asked=lambda: self.asked, tell=self.told.append,
            root=self.root, living_pods=lambda: {"pod"})

    def parent(self, available: int = 2, name: str = "mtty-2") -> Path:
        folder = self.root / "class/mdev_bus/mtty/mdev_supported_types" / name
        folder.mkdir(parents=True)
        (folder / "name").write_text("Dual port serial\n")
        (folder / "available_instances").write_text(f"{available}\n")
        (folder / "create").write_text("")
        return folder


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(tmp_path)


async def test_a_look_makes_what_is_asked_for(stand: Stand) -> None:
    folder = stand.parent(available=1)
    assert sysfs.makeable(stand.root) == (Makeable("mtty", "mtty-2", "Dual port serial", 1),)
    await stand.maker.look()
    assert len((folder / "create").read_text()) == len(UUID)
    assert stand.told == []


async def test_a_look_removes_what_is_not_asked_for_unless_a_pod_has_it(stand: Stand) -> None:
    make(stand.root, UUID, "mtty-1")
    make(stand.root, SECOND, "mtty-1")
    for uuid in (UUID, SECOND):
        (stand.root / "bus/mdev/devices" / uuid / "remove").write_text("")
    (stand.kubelet / CHECKPOINT).write_bytes(checkpoint(entry("pod", "example.com/part", UUID)))
    await stand.maker.look()
    assert [(stand.root / "bus/mdev/devices" / uuid / "remove").read_text() for uuid in (UUID, SECOND)] == ["", "1"]


async def test_nothing_is_touched_where_nothing_is_asked_for(stand: Stand) -> None:
    make(stand.root, UUID, "mtty-1")
    remove = stand.root / "bus/mdev/devices" / UUID / "remove"
    remove.write_text("")
    stand.asked = v1.MediatedDevicesConfiguration()
    assert not making.is_wanted(stand.asked)
    (stand.kubelet / CHECKPOINT).write_text("no checkpoint")
    await stand.maker.look()
    assert (remove.read_text(), stand.told) == ("", [])


async def test_what_the_kernel_refuses_is_told_once(stand: Stand) -> None:
    folder = stand.parent()
    (folder / "create").unlink()
    (folder / "create").mkdir()
    await stand.maker.look()
    await stand.maker.look()
    assert len(stand.told) == 1
    assert stand.told[0].startswith("mediated devices cannot be made or removed: ")
