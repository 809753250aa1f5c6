"""Functions that leave a guest and come back, on the fake hypervisor."""

import asyncio
from collections.abc import Mapping

import pytest

from tests.fakes.hypervisor import FakeHypervisor
from tests.waits import HANG_S, until
from virt.launcher.libvirt_conn import DeviceGone, HypervisorError, HypervisorLost, NotRunning
from virt.launcher.migration import functions, release
from virt.launcher.migration.functions import Functions, NotReleased
from virt.rpc.messages import DomainState

NAME = "ns_vm"


def device(name: str) -> str:
    return f"<hostdev><alias name='ua-sriov-{name}'/></hostdev>"


class Owner:
    """A guest with functions ``fast`` and ``slow``, and what was told of those that are missing."""

    def __init__(self) -> None:
        self.hypervisor = FakeHypervisor()
        self.told: list[Mapping[str, str]] = []
        self.given_up = ""
        self.functions = Functions(
            self.hypervisor, NAME, {name: device(name) for name in ("fast", "slow")}, self._tell)

    async def _tell(self, missing: Mapping[str, str]) -> None:
        self.told.append(missing)

    async def begins(self, *names: str) -> None:
        devices = "".join(device(name) for name in names)
        other = "<rng><alias name='ua-rng'/></rng>"
        await self.hypervisor.create(f"<domain><name>{NAME}</name><devices>{other}{devices}</devices></domain>")

    @property
    def has(self) -> set[str]:
        return {name for name in ("fast", "slow") if device(name) in self.hypervisor.xml[NAME]}

    def leaving(self) -> asyncio.Task[None]:
        return asyncio.create_task(self.functions.let_go(lambda: self.given_up))

    async def asked(self) -> None:
        await until(lambda: len(self.hypervisor.held) == 2)


@pytest.fixture
async def owner(monkeypatch: pytest.MonkeyPatch) -> Owner:
    monkeypatch.setattr(functions, "LOOK_S", 0.01)
    monkeypatch.setattr(functions, "PATIENT_LOOK_S", HANG_S)
    monkeypatch.setattr(release, "_PAUSES_S", (0.01,))
    made = Owner()
    await made.begins("fast", "slow")
    return made


async def test_they_leave_and_come_back(owner: Owner) -> None:
    await asyncio.wait_for(owner.leaving(), HANG_S)
    assert owner.has == set()
    assert "ua-rng" in owner.hypervisor.xml[NAME]
    owner.functions.give_back()
    await until(lambda: owner.has == {"fast", "slow"})
    assert owner.told == [], "nothing was missing after a try"


async def test_a_guest_without_functions_is_not_looked_at() -> None:
    hypervisor = FakeHypervisor()
    hypervisor.silence = HypervisorError("nobody asks")
    made = Functions(hypervisor, NAME, {}, Owner()._tell)
    await made.let_go(lambda: "")
    made.give_back()
    assert hypervisor.calls == []


async def test_each_is_asked_for_once(owner: Owner) -> None:
    owner.hypervisor.holds_devices = True
    task = owner.leaving()
    await owner.asked()
    await asyncio.sleep(0.05)
    assert [call for call in owner.hypervisor.calls if call.startswith("detach")] == [
        "detach ua-sriov-fast", "detach ua-sriov-slow"]
    owner.hypervisor.let_go(NAME)
    await asyncio.wait_for(task, HANG_S)


async def test_a_guest_that_lets_go_too_late_gets_them_back_then(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its next reset may finish the removal, long after the migration has failed."""
    monkeypatch.setattr(release, "RELEASE_S", 0.05)
    owner.hypervisor.holds_devices = True
    with pytest.raises(NotReleased, match=r"^failed to wait for host-devices detach: .* fast, slow"):
        await owner.functions.let_go(lambda: "")
    owner.functions.give_back()
    await asyncio.sleep(0.05)
    assert "attach" not in owner.hypervisor.calls
    assert owner.has == {"fast", "slow"}
    owner.hypervisor.let_go(NAME)
    assert owner.has == set()
    await until(lambda: owner.has == {"fast", "slow"})


async def test_one_that_has_gone_comes_back_while_the_other_stays(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "RELEASE_S", 0.2)
    owner.hypervisor.holds_devices = True
    task = owner.leaving()
    await owner.asked()
    owner.hypervisor.held.remove("ua-sriov-slow")
    owner.hypervisor.let_go(NAME)
    with pytest.raises(NotReleased, match=r"has not released slow within"):
        await task
    owner.functions.give_back()
    await until(lambda: owner.has == {"fast", "slow"})
    assert owner.hypervisor.calls.count("attach") == 1


async def test_who_gives_up_is_heard_at_once(owner: Owner) -> None:
    owner.hypervisor.holds_devices = True
    task = owner.leaving()
    await owner.asked()
    owner.given_up = "Live migration has been aborted"
    with pytest.raises(NotReleased, match="has been aborted"):
        await asyncio.wait_for(task, HANG_S)


async def test_libvirt_that_is_just_replaced_costs_a_look(owner: Owner) -> None:
    owner.hypervisor.silence = HypervisorLost("end of file while reading")
    task = owner.leaving()
    await until(lambda: owner.hypervisor.calls.count("state") > 1)
    owner.hypervisor.silence = None
    await asyncio.wait_for(task, HANG_S)
    assert owner.has == set()


async def test_a_request_that_libvirt_refuses_is_made_again(owner: Owner) -> None:
    owner.hypervisor.refusals["detach ua-sriov-fast"] = [HypervisorError("already in the process of unplug")]
    await asyncio.wait_for(owner.leaving(), HANG_S)
    assert owner.has == set()


async def test_a_guest_that_is_off_is_not_waited_for(owner: Owner) -> None:
    """libvirt describes one that is off as it would be started: with all its functions."""
    owner.hypervisor.holds_devices = True
    task = owner.leaving()
    await owner.asked()
    owner.hypervisor.become(NAME, DomainState.SHUTOFF, "Shutdown")
    with pytest.raises(NotRunning):
        await asyncio.wait_for(task, HANG_S)
    owner.functions.give_back()
    await asyncio.sleep(0.05)
    assert (owner.told, owner.hypervisor.calls.count("attach")) == ([], 0)
    owner.functions.close()


async def test_what_cannot_be_given_back_is_told_and_tried_again(owner: Owner) -> None:
    await owner.functions.let_go(lambda: "")
    busy = HypervisorError("vfio 0000:01:10.0: group 7 is not viable")
    owner.hypervisor.refusals["attach"] = [busy, busy, busy, busy]
    owner.functions.give_back()
    await until(lambda: owner.told and owner.told[-1] == {})
    assert owner.told == [{"fast": str(busy), "slow": str(busy)}, {}]
    assert owner.has == {"fast", "slow"}


async def test_a_new_node_gives_its_own(owner: Owner) -> None:
    await owner.hypervisor.destroy(NAME)
    await owner.begins()
    owner.functions.take_all()
    await until(lambda: owner.has == {"fast", "slow"})
    await asyncio.sleep(0.05)
    assert owner.hypervisor.calls.count("attach") == 2      # each once
    assert owner.told == []


async def test_a_second_migration_waits_for_what_is_just_given_back(owner: Owner) -> None:
    await owner.functions.let_go(lambda: "")
    owner.functions.give_back()
    await asyncio.wait_for(owner.leaving(), HANG_S)
    assert owner.has == set()
    owner.functions.give_back()
    await until(lambda: owner.has == {"fast", "slow"})


async def test_what_the_guest_threw_out_stays_out_and_is_told(owner: Owner) -> None:
    await owner.hypervisor.detach_device(NAME, "ua-sriov-slow")
    await until(lambda: owner.told == [{"slow": functions.THROWN_OUT}])
    await owner.functions.let_go(lambda: "")
    owner.hypervisor.refusals["attach"] = [HypervisorError("no")]
    owner.functions.give_back()
    await until(lambda: owner.has == {"fast"})
    await asyncio.sleep(0.05)
    assert owner.has == {"fast"}
    assert owner.told[1:] == [{"slow": functions.THROWN_OUT, "fast": "no"}, {"slow": functions.THROWN_OUT}]


async def test_one_that_the_guest_throws_out_hides_no_other_that_is_owed(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "_PAUSES_S", (HANG_S,))
    await owner.functions.let_go(lambda: "")
    owner.hypervisor.refusals["attach"] = [HypervisorError("no")]
    owner.functions.give_back()
    await until(lambda: owner.told == [{"fast": "no"}] and owner.has == {"slow"})
    owner.hypervisor.refusals["attach"] = [HypervisorError("no")]
    await owner.hypervisor.detach_device(NAME, "ua-sriov-slow")
    await asyncio.sleep(0.05)
    assert owner.told[1:] == [{"slow": functions.THROWN_OUT, "fast": "no"}]
    owner.functions.close()


async def test_other_devices_of_the_guest_are_not_told_of(owner: Owner) -> None:
    """A disk may be called as a function is."""
    owner.hypervisor.say(DeviceGone(NAME, "ua-fast"))
    owner.hypervisor.say(DeviceGone("ns_other", "ua-sriov-fast"))
    await asyncio.sleep(0.05)
    assert owner.told == []
