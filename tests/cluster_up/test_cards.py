"""Cards with virtual functions on a made-up sysfs, and what a person is told of them."""

from pathlib import Path

import pytest

from cluster_up.cards import Card, has_vfio, present
from cluster_up.doctor import virtual_functions


def device(sysfs: Path, address: str, *, most: int | None = 7, name: str = "eth1", kind: str = "020000") -> None:
    folder = sysfs / "bus/pci/devices" / address
    (folder / "iommu_group").mkdir(parents=True)
    (folder / "class").write_text(f"0x{kind}\n")
    if name:
        (folder / "net" / name).mkdir(parents=True)
    if most is not None:
        (folder / "sriov_totalvfs").write_text(f"{most}\n")


def test_cards_are_found_by_what_they_can_have(tmp_path: Path) -> None:
    device(tmp_path, "0000:02:00.0", name="")
    device(tmp_path, "0000:01:00.0", most=64)
    device(tmp_path, "0000:03:00.0", most=None)
    device(tmp_path, "0000:04:00.0", kind="010802", name="")         # an NVMe disk has virtual functions too
    assert present(tmp_path) == (
        Card("0000:01:00.0", "eth1", 64, True), Card("0000:02:00.0", "", 7, True))


def test_a_card_is_read_with_what_it_has_now(tmp_path: Path) -> None:
    device(tmp_path, "0000:01:00.0")
    folder = tmp_path / "bus/pci/devices/0000:01:00.0"
    (folder / "sriov_numvfs").write_text("3\n")
    (folder / "net/eth1/flags").write_text("0x1003\n")
    for address, kind in (("0000:01:00.0", "020000"), ("0000:00:1c.0", "060400"), ("0000:05:00.0", "010802")):
        other = folder / "iommu_group/devices" / address
        other.mkdir(parents=True)
        (other / "class").write_text(f"0x{kind}\n")
    assert present(tmp_path) == (Card("0000:01:00.0", "eth1", 7, True, sharing=1, functions=3, is_up=True),)


def test_a_machine_without_any(tmp_path: Path) -> None:
    assert present(tmp_path) == ()
    assert not has_vfio(tmp_path)
    assert virtual_functions((), vfio=False).verdict == "ok"


@pytest.mark.parametrize(("card", "vfio", "verdict", "words"), [
    (Card("0000:01:00.0", "eth1", 7, True), True, "ok", "eth1: 7"),
    (Card("0000:01:00.0", "", 7, True), True, "ok", "0000:01:00.0: 7"),
    (Card("0000:01:00.0", "eth1", 0, True), True, "warn", "firmware"),
    (Card("0000:01:00.0", "eth1", 7, False), True, "warn", "no IOMMU"),
    (Card("0000:01:00.0", "eth1", 7, True), False, "warn", "vfio-pci is not loaded"),
    (Card("0000:01:00.0", "eth1", 7, True, sharing=2), True, "warn", "other devices: eth1 with 2"),
])
def test_the_first_thing_that_is_missing_is_told(card: Card, vfio: bool, verdict: str, words: str) -> None:
    found = virtual_functions((card,), vfio=vfio)
    assert found.verdict == verdict
    assert words in found.value
    assert bool(found.fix) == (verdict == "warn")
