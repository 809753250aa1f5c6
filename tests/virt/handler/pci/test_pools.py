"""Configuration of virtual functions: what it says, what follows, what is offered."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.sysfs import PF, SECOND_PF, FakeKernel
from virt.handler.devices.resources import Device
from virt.handler.pci import pools
from virt.handler.pci.offers import PassedThrough
from virt.handler.pci.pools import Bind, Config, SetCount, SriovConfigError

NODE_DIR = Path("/var/run/kubevirt")
FIRST, SECOND = "0000:01:10.0", "0000:01:10.2"


def text(**pool: Any) -> str:
    return json.dumps({"resourceList": [{"resourceName": "net1", "selectors": {"pfNames": ["eth1"]}, **pool}]})


def config(**pool: Any) -> Config:
    return pools.parsed(text(**pool))


@pytest.fixture
def kernel(tmp_path: Path) -> FakeKernel:
    kernel = FakeKernel(tmp_path / "sys")
    kernel.card(PF, "eth1")
    kernel.card(SECOND_PF, "eth2")
    kernel.load("vfio-pci")
    return kernel


def listed(kernel: FakeKernel, wanted: Config, *before: PassedThrough) -> dict[str, tuple[Device, ...]]:
    found = pools.resources(
        wanted, kernel.sysfs.devices(), {offer.full_name: offer for offer in before}, NODE_DIR, holders={})
    return {offer.full_name: offer.listed for offer in found}


@pytest.mark.parametrize(("written", "words"), [
    ("{", "config.json: Input data was truncated"),
    (text(numVfs=-1), r"resourceList\[0\]\.numVfs -1 is less"),
    (text(numVfs="many"), r"numVfs"),
    (text(isRdma=True), "isRdma"),
    (text(resourceName="a/b"), "'a/b' is no name"),
    (text(resourcePrefix="devices.kubevirt.io"), "node agent's own"),
    (text(resourcePrefix="kubernetes.io"), "'kubernetes.io'"),
    (text(numVfs=2, selectors={"vendors": ["8086"]}), "name no card"),
    (text(selectors={"drivers": ["igbvf"]}), r"\['igbvf'\] lacks vfio-pci"),
    (json.dumps({"resourceList": [{"resourceName": "a"}, {"resourceName": "a"}]}), "twice"),
])
def test_a_faulty_configuration_names_place_and_value(written: str, words: str) -> None:
    with pytest.raises(SriovConfigError, match=words):
        pools.parsed(written)


def test_the_configuration_of_the_network_device_plugin_is_understood() -> None:
    written = {"resourceList": [{
        "resourcePrefix": "intel.com", "resourceName": "sriov_net",
        "selectors": {"vendors": ["8086"], "devices": ["10ca"], "drivers": ["vfio-pci"], "rootDevices": [PF]},
    }]}
    (pool,) = pools.parsed(json.dumps(written)).resource_list
    assert (pool.full_name, pool.num_vfs, pool.selectors.root_devices) == ("intel.com/sriov_net", None, (PF,))


def test_functions_are_made_and_then_bound(kernel: FakeKernel) -> None:
    wanted = config(numVfs=2)
    assert pools.steps(wanted, kernel.sysfs.devices(), ()) == (SetCount(PF, 2),)
    kernel.sysfs.set_count(PF, 2)
    assert pools.steps(wanted, kernel.sysfs.devices(), ()) == (Bind(FIRST), Bind(SECOND))
    kernel.sysfs.bind(FIRST)
    kernel.sysfs.bind(SECOND)
    assert pools.steps(wanted, kernel.sysfs.devices(), ()) == ()


def test_other_cards_are_left_alone(kernel: FakeKernel) -> None:
    kernel.sysfs.set_count(SECOND_PF, 1)
    assert pools.steps(config(numVfs=2), kernel.sysfs.devices(), ()) == (SetCount(PF, 2),)


def test_without_a_number_nothing_is_changed(kernel: FakeKernel) -> None:
    kernel.sysfs.set_count(PF, 2)
    assert pools.steps(config(), kernel.sysfs.devices(), ()) == ()


def test_a_card_whose_functions_are_in_use_keeps_their_number(kernel: FakeKernel) -> None:
    kernel.sysfs.set_count(PF, 2)
    kernel.sysfs.bind(FIRST)
    found = kernel.sysfs.devices()
    assert pools.steps(config(numVfs=4), found, {FIRST}) == (Bind(SECOND),)
    (problem,) = pools.problems(config(numVfs=4), found, {FIRST})
    assert problem == (f"eth1 ({PF}) keeps its 2 virtual functions instead of 4 for intel.com/net1: pods have {FIRST}")


def test_a_card_gets_no_more_than_it_can_have(kernel: FakeKernel) -> None:
    found = kernel.sysfs.devices()
    assert pools.steps(config(numVfs=9), found, ()) == (SetCount(PF, 7),)
    assert pools.problems(config(numVfs=9), found, ()) == (
        f"intel.com/net1 asks for 9 virtual functions of eth1 ({PF}), which can have 7",)


def test_functions_on_vfio_are_offered_under_the_known_name(kernel: FakeKernel) -> None:
    kernel.sysfs.set_count(PF, 2)
    kernel.sysfs.bind(FIRST)
    (offer,) = pools.resources(config(), kernel.sysfs.devices(), {}, NODE_DIR, holders={})
    assert (offer.full_name, offer.listed) == ("intel.com/net1", (Device(FIRST),))
    assert offer.given((FIRST,)).env == {"PCIDEVICE_INTEL_COM_NET1": FIRST}


@pytest.mark.parametrize("state", ["down", "lowerlayerdown"])
def test_a_card_that_goes_down_makes_its_functions_unhealthy(kernel: FakeKernel, state: str) -> None:
    kernel.sysfs.set_count(PF, 1)
    kernel.sysfs.bind(FIRST)
    kernel.link(PF, "eth1", state)
    (offer,) = pools.resources(config(), kernel.sysfs.devices(), {}, NODE_DIR, holders={})
    assert offer.functions[0].trouble == f"its network card eth1 is {state}"
    kernel.link(PF, "eth1", "up")
    assert listed(kernel, config(), offer) == {"intel.com/net1": (Device(FIRST),)}


def test_functions_that_vanish_are_unhealthy(kernel: FakeKernel) -> None:
    kernel.sysfs.set_count(PF, 2)
    kernel.sysfs.bind(FIRST)
    kernel.sysfs.bind(SECOND)
    (before,) = pools.resources(config(), kernel.sysfs.devices(), {}, NODE_DIR, holders={})
    kernel.sysfs.set_count(PF, 1)
    kernel.sysfs.bind(FIRST)
    assert listed(kernel, config(), before) == {"intel.com/net1": (Device(FIRST), Device(SECOND, False))}


def test_a_function_belongs_to_the_first_resource_that_names_it(kernel: FakeKernel) -> None:
    kernel.sysfs.set_count(PF, 1)
    kernel.sysfs.bind(FIRST)
    twice = pools.parsed(json.dumps({"resourceList": [
        {"resourceName": "a", "selectors": {"pfNames": ["eth1"]}}, {"resourceName": "b"}]}))
    assert listed(kernel, twice) == {"intel.com/a": (Device(FIRST),)}


def test_selectors_choose_by_the_functions_ids(kernel: FakeKernel) -> None:
    kernel.sysfs.set_count(PF, 1)
    kernel.sysfs.bind(FIRST)
    assert listed(kernel, config(selectors={"devices": ["154c"]})) == {}
    assert listed(kernel, config(selectors={"devices": ["10ca"], "vendors": ["8086"]})) != {}
