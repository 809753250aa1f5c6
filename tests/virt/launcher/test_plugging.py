"""Disks of a guest that runs: what comes, what goes, and what is told of it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.hypervisor import FakeHypervisor
from virt.launcher.disks.held import HeldClaims
from virt.launcher.draft import Draft
from virt.launcher.guest import Guest
from virt.launcher.libvirt_conn import NoDevice
from virt.launcher.outline import Outline
from virt.launcher.plugging import Plugging
from virt.rpc.errors import RequestFailed
from virt.rpc.messages import DiskTarget, DomainState, DomainStatus, Event, HostFacts, SyncVmi, SyncVolumes

NAME = "default_web"
ROOT = "<disk><target dev='vda' bus='virtio'/><alias name='ua-root'/></disk>"
STATUS = DomainStatus(
    state=DomainState.RUNNING, domain_name=NAME, disks=(DiskTarget(volume="root", target="vda", size=7),))


class PaperDrafts:
    """``refused``: volumes whose disk cannot be made. ``taken``: device names of which each was told."""

    def __init__(self) -> None:
        self.refused: set[str] = set()
        self.taken: dict[str, tuple[str, ...]] = {}

    async def draft(self, sync: SyncVmi, outline: Outline, *, placed: str = "") -> Draft:
        raise NotImplementedError

    async def plug(self, sync: SyncVmi, volume: str, taken: tuple[str, ...]) -> Draft:
        if volume in self.refused:
            raise RequestFailed("InvalidSpec", f"volume {volume}: no room")
        self.taken[volume] = taken
        target = f"sd{'abc'[len(taken) - 1]}"
        xml = f"<disk><target dev='{target}' bus='scsi'/><alias name='ua-{volume}'/></disk>"
        return Draft(xml, (DiskTarget(volume=volume, target=target, size=9),))


@pytest.fixture
def hypervisor() -> FakeHypervisor:
    made = FakeHypervisor()
    made.xml[NAME] = f"<domain><devices>{ROOT}</devices></domain>"
    made.become(NAME, DomainState.RUNNING)
    return made


@pytest.fixture
def held(tmp_path: Path) -> Iterator[HeldClaims]:
    made = HeldClaims(tmp_path / "links")
    for name in ("data", "more"):
        (tmp_path / name).mkdir()
        fd = os.open(tmp_path / name, os.O_PATH | os.O_DIRECTORY)
        made.take((name,), (fd,))
        os.close(fd)
    yield made
    for name in made.names:
        made.release(name)


@pytest.fixture
def guest(hypervisor: FakeHypervisor) -> Guest:
    async def tell(_: Event) -> bool:
        return True

    return Guest(hypervisor, STATUS, tell)


def wanting(*volumes: str) -> SyncVolumes:
    return SyncVolumes(vmi=b"{}", facts=HostFacts(kvm=False), volumes=volumes)


def disks(status: DomainStatus) -> list[tuple[str, str, int]]:
    return [(disk.volume, disk.target, disk.size) for disk in status.disks]


async def test_what_is_wanted_is_attached_once(guest: Guest, held: HeldClaims, hypervisor: FakeHypervisor) -> None:
    drafts = PaperDrafts()
    plugging = Plugging(drafts, held)
    for _ in range(2):
        status = await plugging.sync(guest, wanting("data", "more", "never-given"))
    assert disks(status) == [("root", "vda", 7), ("data", "sda", 9), ("more", "sdb", 9)]
    assert drafts.taken == {"data": ("vda",), "more": ("sda", "vda")}
    assert hypervisor.calls.count("attach") == 2
    assert (status.given, status.volumes_troubled) == (("data", "more"), {})


async def test_what_is_wanted_no_more_is_asked_for_and_let_go_of(
    guest: Guest, held: HeldClaims, hypervisor: FakeHypervisor
) -> None:
    plugging = Plugging(PaperDrafts(), held)
    await plugging.sync(guest, wanting("data", "more"))
    hypervisor.holds_devices = True
    status = await plugging.sync(guest, wanting("more"))
    assert ("data" in [disk.volume for disk in status.disks], status.given) == (True, ("data", "more"))
    hypervisor.let_go(NAME)
    await guest.see_disks()
    assert [disk.volume for disk in guest.status.disks] == ["root", "more"]
    status = await plugging.sync(guest, wanting("more"))
    assert status.given == ("more",)
    assert "detach ua-root" not in hypervisor.calls


async def test_one_that_fails_does_not_keep_the_others(
    guest: Guest, held: HeldClaims, hypervisor: FakeHypervisor
) -> None:
    drafts = PaperDrafts()
    drafts.refused = {"data"}
    plugging = Plugging(drafts, held)
    status = await plugging.sync(guest, wanting("data", "more"))
    assert status.volumes_troubled == {"data": "volume data: no room"}
    assert [disk.volume for disk in status.disks] == ["root", "more"]
    drafts.refused = set()
    hypervisor.refusals["attach"] = [NoDevice("no more slots")]
    assert (await plugging.sync(guest, wanting("data", "more"))).volumes_troubled == {"data": "no more slots"}
    assert (await plugging.sync(guest, wanting("data", "more"))).volumes_troubled == {}


async def test_a_guest_that_throws_a_disk_out_is_seen(
    guest: Guest, held: HeldClaims, hypervisor: FakeHypervisor
) -> None:
    plugging = Plugging(PaperDrafts(), held)
    await plugging.sync(guest, wanting("data"))
    await hypervisor.detach_device(NAME, "ua-data")
    await guest.see_disks()
    assert [disk.volume for disk in guest.status.disks] == ["root"]
    assert [disk.volume for disk in (await plugging.sync(guest, wanting("data"))).disks] == ["root", "data"]
