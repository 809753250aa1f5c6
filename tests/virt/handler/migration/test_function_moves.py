"""Guests with a virtual function between two handlers: which is set when, and what is said of one that lacks it."""

import functools
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.fakes.launcher import FakeLauncher
from tests.virt.handler.migration.test_moves import RUNNING, begun, moving, state, two_nodes
from tests.virt.handler.world import vmi
from virt.api import conditions, v1
from virt.handler.pci.assignment import FunctionError
from virt.rpc.messages import GivenFunction, Migrate, PrepareTarget

FUNCTION = GivenFunction(name="fast", address="0000:02:10.2", mac="de:ad:00:00:be:ef")


def with_function(given: v1.VirtualMachineInstance) -> v1.VirtualMachineInstance:
    fast = v1.Interface(name="fast", sriov=v1.InterfaceSRIOV(), mac_address=FUNCTION.mac)
    devices = given.spec.domain.devices
    domain = replace(given.spec.domain, devices=replace(devices, interfaces=(*devices.interfaces, fast)))
    network = v1.Network(name="fast", multus=v1.MultusNetwork(network_name="fast"))
    return replace(given, spec=replace(given.spec, domain=domain, networks=(*given.spec.networks, network)))


async def test_the_target_sets_its_own_function_before_the_guest_comes(tmp_path: Path) -> None:
    async with two_nodes(tmp_path, given=with_function(moving())) as (source, target):
        target.devices.given = (FUNCTION,)
        _, coming = await begun(source, target)
        assert {each.functions for each in coming.asked if isinstance(each, PrepareTarget)} == {(FUNCTION,)}
        await coming.becomes(RUNNING)
        await target.until(lambda: state(target).completed)
        await target.until(lambda: ("fast", FUNCTION.mac) in {
            (each.name, each.mac) for each in target.stored.status.interfaces})


async def test_a_target_without_a_function_leaves_the_source_alone(tmp_path: Path) -> None:
    async with two_nodes(tmp_path, given=with_function(moving())) as (source, target):
        target.devices.error = FunctionError("network card pf1 is down")
        leaving = await source.launcher(FakeLauncher(RUNNING))
        coming = await target.launcher()
        await source.until(lambda: state(source).failed)
        assert state(source).failure_reason == "node node2 could not make ready: network card pf1 is down"
        assert not [each for each in leaving.asked if isinstance(each, Migrate)], "nothing was taken from the guest"
        assert not [each for each in coming.asked if isinstance(each, PrepareTarget)]


@pytest.mark.parametrize("is_source", [True, False])
async def test_launchers_that_do_not_know_functions_do_not_move_them(tmp_path: Path, is_source: bool) -> None:
    async with two_nodes(tmp_path, given=with_function(moving())) as (source, target):
        leaving, coming = FakeLauncher(RUNNING), FakeLauncher()
        (leaving if is_source else coming).version = 2
        await source.launcher(leaving)
        await target.launcher(coming)
        await source.until(lambda: state(source).failed)
        assert "too old" in state(source).failure_reason
        assert not [each for each in leaving.asked if isinstance(each, Migrate)]


def _says(look: Callable[[], str], wanted: str) -> bool:
    return look() == wanted


async def test_a_guest_without_its_card_says_so_until_it_has_it(tmp_path: Path) -> None:
    async with two_nodes(tmp_path, given=with_function(vmi("Running"))) as (source, _):
        fake = await source.launcher(FakeLauncher(RUNNING))

        def trouble() -> str:
            found = conditions.find(source.stored.status.conditions, "Synchronized")
            return found.message if found is not None else ""

        for again in ("group 7 is not viable", "group 8 is not viable"):
            await fake.becomes(replace(RUNNING, functions_missing={"fast": again}))
            await source.until(functools.partial(_says, trouble, f"interface fast has no network card: {again}"))
        assert source.stored.status.phase == "Running"
        await fake.becomes(RUNNING)
        await source.until(lambda: not trouble())
        assert [each for each in await source.events() if each[1] == "SyncFailed"] == [("Warning", "SyncFailed")] * 2
