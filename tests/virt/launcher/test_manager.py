"""Requests of the handler on the one guest."""

import asyncio
import os
import select
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.fakes.hypervisor import FakeHypervisor
from tests.virt.launcher.test_guest import AGENT
from tests.waits import HANG_S, until
from virt.api import codec, core, names, v1
from virt.launcher.design import DiskSource, TaggedDevice
from virt.launcher.disks.errors import DiskError
from virt.launcher.disks.prepare import Boot
from virt.launcher.draft import Draft, Order, Refusal
from virt.launcher.drafting import drafted
from virt.launcher.libvirt_conn import InvalidDomain
from virt.launcher.manager import Manager
from virt.launcher.outline import Outline
from virt.rpc import messages
from virt.rpc.errors import RequestFailed
from virt.rpc.messages import Data, DomainState, DomainStatus, Done, HostFacts, SyncVmi

NAME = "default_web"
VMI = v1.VirtualMachineInstance(
    metadata=core.ObjectMeta(name="web", namespace="default", uid="11111111-2222-3333-4444-555555555555"),
    spec=v1.VirtualMachineInstanceSpec(
        termination_grace_period_seconds=0,
        domain=v1.DomainSpec(memory=v1.Memory(guest="64Mi"), devices=v1.Devices(disks=(v1.Disk(name="root"),))),
    ),
)
SYNC = SyncVmi(vmi=codec.encode(VMI), interfaces=(), facts=HostFacts(kvm=False))


@dataclass
class PreparedDisks:
    """In place of Disks: one raw file, or an error. ``seen``: what tags were prepared for, by all copies."""

    error: Exception | None = None
    tagged: tuple[TaggedDevice, ...] = ()
    seen: list[tuple[TaggedDevice, ...]] = field(default_factory=list)

    def at_start(self, vmi: v1.VirtualMachineInstance) -> v1.VirtualMachineInstance:
        return vmi

    async def prepare(
        self, _vmi: v1.VirtualMachineInstance, only: tuple[str, ...] | None = None
    ) -> dict[str, DiskSource]:
        if only is not None:
            return {name: DiskSource(f"/plugged/{name}/disk.img", "raw", size=2 << 20) for name in only}
        if self.error is not None:
            raise self.error
        self.seen.append(self.tagged)
        return {"root": DiskSource("/disks/root.img", "raw", size=1 << 20)}

    def boot(self, _vmi: v1.VirtualMachineInstance) -> Boot:
        return Boot()


class DraftsHere:
    """In place of the process that drafts."""

    def __init__(self, disks: Any) -> None:
        self._disks = disks

    async def draft(self, sync: SyncVmi, _outline: Outline, *, placed: str = "") -> Draft:
        return await self._drafted(Order(sync, placed=placed))

    async def plug(self, sync: SyncVmi, volume: str, taken: tuple[str, ...]) -> Draft:
        return await self._drafted(Order(sync, plug=volume, taken=taken))

    async def _drafted(self, order: Order) -> Draft:
        answer = await drafted(order, self._disks)
        if isinstance(answer, Refusal):
            raise RequestFailed(answer.code, answer.message)
        return answer


@pytest.fixture
def hypervisor() -> FakeHypervisor:
    return FakeHypervisor()


@pytest.fixture
def disks() -> PreparedDisks:
    return PreparedDisks()


@pytest.fixture
def private() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:        # tmp_path is too long for a socket's path
        yield Path(folder)


@pytest.fixture
async def manager(
    hypervisor: FakeHypervisor, disks: Any, private: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Manager]:
    monkeypatch.setattr(names, "PRIVATE_DIR", str(private))
    ready: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    ready.set_result(hypervisor)

    async def tell(_event: messages.Event) -> bool:
        return True

    made = Manager(ready, DraftsHere(disks), tell)
    yield made
    if made.guest is not None:
        await made.guest.destroy()
    made.close()


async def status_of(manager: Manager) -> DomainStatus:
    answer = (await manager.serve(SYNC, ())).answer
    assert isinstance(answer, DomainStatus)
    return answer


async def refused(manager: Manager, request: messages.Request) -> str:
    with pytest.raises(RequestFailed) as caught:
        await manager.serve(request, ())
    return caught.value.code


async def test_the_first_sync_starts_and_the_next_report(manager: Manager, hypervisor: FakeHypervisor) -> None:
    first, second = await status_of(manager), await status_of(manager)
    assert first == second
    assert (first.state, first.domain_name, first.accelerator) == (DomainState.RUNNING, NAME, "tcg")
    assert [(disk.volume, disk.target, disk.size) for disk in first.disks] == [("root", "sda", 1 << 20)]
    assert hypervisor.calls.count("create") == 1


async def test_a_guest_with_tags_starts_where_libvirt_places_its_devices(
    manager: Manager, hypervisor: FakeHypervisor, disks: PreparedDisks
) -> None:
    devices = v1.Devices(disks=(v1.Disk(name="root", tag="first"),))
    drive = v1.Volume(name="root", cloud_init_config_drive=v1.CloudInitConfigDriveSource(user_data="x"))
    spec = msgspec.structs.replace(
        VMI.spec, domain=msgspec.structs.replace(VMI.spec.domain, devices=devices), volumes=(drive,))
    hypervisor.places = [('<target dev="sda" bus="sata"/>', '<target dev="sda" bus="sata"/>'
                          '<address type="drive" controller="0" bus="0" target="0" unit="5"/>')]
    sync = msgspec.structs.replace(SYNC, vmi=codec.encode(msgspec.structs.replace(VMI, spec=spec)))
    await manager.serve(sync, ())
    assert hypervisor.calls[:2] == ["placed", "create"]
    assert 'unit="5"' in hypervisor.xml[NAME]
    assert disks.seen == [
        (), (), (TaggedDevice(type="disk", bus="sata", address="0:0:0:5", tags=("first",)),)]


async def test_two_syncs_at_once_make_one_guest(manager: Manager, hypervisor: FakeHypervisor) -> None:
    await asyncio.gather(status_of(manager), status_of(manager))
    assert hypervisor.calls.count("create") == 1


async def test_a_failed_start_is_told_and_tried_anew(
    manager: Manager, hypervisor: FakeHypervisor, disks: PreparedDisks
) -> None:
    disks.error = DiskError("volume root: no file")
    assert await refused(manager, SYNC) == "InvalidSpec"
    disks.error, hypervisor.refusal = None, InvalidDomain("unsupported")
    assert await refused(manager, SYNC) == "InvalidSpec"
    hypervisor.refusal = None
    assert (await status_of(manager)).state == DomainState.RUNNING


async def test_a_vmi_that_cannot_be_read_is_refused(manager: Manager) -> None:
    assert await refused(manager, msgspec.structs.replace(SYNC, vmi=b'{"spec": 7}')) == "InvalidSpec"


async def test_start_strategy_paused(manager: Manager) -> None:
    paused = msgspec.structs.replace(VMI, spec=msgspec.structs.replace(VMI.spec, start_strategy="Paused"))
    await manager.serve(msgspec.structs.replace(SYNC, vmi=codec.encode(paused)), ())
    assert manager.status.reason == "User"
    await manager.serve(messages.Unpause(), ())
    assert manager.status.state == DomainState.RUNNING


async def test_pause_stops_the_processors_and_not_only_the_word(
    manager: Manager, hypervisor: FakeHypervisor
) -> None:
    await status_of(manager)
    await manager.serve(messages.Pause(), ())
    assert (await hypervisor.state(NAME))[0] == DomainState.PAUSED
    assert (manager.status.state, manager.status.reason) == (DomainState.PAUSED, "User")
    await manager.serve(messages.Unpause(), ())
    assert (await hypervisor.state(NAME))[0] == DomainState.RUNNING


async def test_processors_are_plugged(manager: Manager, hypervisor: FakeHypervisor) -> None:
    await status_of(manager)
    for _ in range(2):
        answer = (await manager.serve(messages.SetVcpus(count=3), ())).answer
        assert isinstance(answer, DomainStatus)
        assert answer.state == DomainState.RUNNING
    assert hypervisor.vcpus == {NAME: 3}


@pytest.mark.parametrize(
    "request_", [messages.Pause(), messages.Reset(), messages.OpenSerial(), messages.GuestInfo(), messages.Screenshot()]
)
async def test_nothing_can_be_asked_of_a_guest_that_is_not_there(manager: Manager, request_: messages.Request) -> None:
    assert await refused(manager, request_) == "NotRunning"


async def test_the_end_asked_for_before_the_beginning_prevents_it(manager: Manager, hypervisor: FakeHypervisor) -> None:
    assert (await manager.serve(messages.Shutdown(), ())).answer == Done()
    assert manager.over.is_set()
    assert await refused(manager, SYNC) == "NotRunning"
    assert "create" not in hypervisor.calls


async def test_destroy_answers_when_the_guest_is_off(manager: Manager) -> None:
    await status_of(manager)
    await manager.serve(messages.Destroy(), ())
    assert (manager.status.state, manager.status.reason) == (DomainState.SHUTOFF, "Destroyed")
    await asyncio.wait_for(manager.over.wait(), HANG_S)
    assert await refused(manager, messages.Pause()) == "NotRunning"
    assert (await status_of(manager)).state == DomainState.SHUTOFF


async def test_consoles_that_the_guest_does_not_have(manager: Manager) -> None:
    await status_of(manager)
    assert await refused(manager, messages.OpenSerial()) == "NoDevice"
    assert await refused(manager, messages.OpenVnc()) == "NoDevice"


async def test_a_console_is_a_connected_socket(manager: Manager) -> None:
    await status_of(manager)
    path = names.serial_socket(VMI.metadata.uid)
    server = await asyncio.start_unix_server(lambda _reader, writer: writer.write(b"login:"), path)
    answer, fds = await manager.serve(messages.OpenSerial(), ())
    await until(lambda: select.select(fds, [], [], 0)[0])
    assert (answer, os.read(fds[0], 10)) == (Done(), b"login:")
    os.close(fds[0])
    server.close()


async def test_agent_requests_need_an_agent(manager: Manager, hypervisor: FakeHypervisor) -> None:
    await status_of(manager)
    assert await refused(manager, messages.GuestInfo()) == "NoAgent"
    hypervisor.connect_agent(NAME, AGENT)
    answer = (await manager.serve(messages.GuestInfo(), ())).answer
    assert isinstance(answer, Data)
    assert msgspec.json.decode(answer.body)["os"] == {"id": "tiny"}


async def test_a_paused_guest_is_not_frozen(manager: Manager, hypervisor: FakeHypervisor) -> None:
    await status_of(manager)
    hypervisor.connect_agent(NAME, AGENT)
    await manager.serve(messages.Pause(), ())
    assert await refused(manager, messages.Freeze(timeout_s=5)) == "NotRunning"


async def test_sigterm_without_grace_kills_and_without_guest_just_ends(
    manager: Manager, hypervisor: FakeHypervisor
) -> None:
    await status_of(manager)
    await manager.terminate(handler_leads=False)
    assert "press_power_button" not in hypervisor.calls
    await until(manager.over.is_set)


async def test_what_has_no_power_button_is_not_pressed(manager: Manager, hypervisor: FakeHypervisor) -> None:
    features = v1.Features(acpi=v1.FeatureState(enabled=False))
    domain = msgspec.structs.replace(VMI.spec.domain, features=features)
    spec = msgspec.structs.replace(VMI.spec, domain=domain, termination_grace_period_seconds=1)
    document = codec.encode(msgspec.structs.replace(VMI, spec=spec))
    await manager.serve(msgspec.structs.replace(SYNC, vmi=document), ())
    await manager.terminate(handler_leads=False)
    assert "press_power_button" not in hypervisor.calls
    assert "destroy" in hypervisor.calls
