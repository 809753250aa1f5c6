"""Which function each interface gets, and how it is set."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from virt.api import core, v1
from virt.api.core.attachment import RESOURCE_ANNOTATION
from virt.handler.net.addresses import local_mac
from virt.handler.net.model import FunctionState
from virt.handler.pci.assignment import FunctionError, Wish, assigned, references, twin, wish


def vmi(**interface: Any) -> v1.VirtualMachineInstance:
    return v1.VirtualMachineInstance(
        metadata=core.ObjectMeta(name="vm", namespace="ns", uid="u1"),
        spec=v1.VirtualMachineInstanceSpec(
            domain=v1.DomainSpec(devices=v1.Devices(interfaces=(
                v1.Interface(name="default", masquerade=v1.InterfaceMasquerade()),
                v1.Interface(name="net1", sriov=v1.InterfaceSRIOV(), **interface),
            ))),
            networks=(
                v1.Network(name="default", pod=v1.PodNetwork()),
                v1.Network(name="net1", multus=v1.MultusNetwork(network_name="fast")),
            ),
        ),
    )


def definition(config: Any = None, resource: str = "intel.com/net1") -> core.NetworkAttachmentDefinition:
    text = config if isinstance(config, str) else json.dumps({"type": "sriov", **(config or {})})
    return core.NetworkAttachmentDefinition(
        metadata=core.ObjectMeta(
            name="fast", namespace="ns", annotations={RESOURCE_ANNOTATION: resource} if resource else {}),
        spec=core.NetworkAttachmentDefinitionSpec(config=text),
    )


def test_a_network_is_looked_for_in_the_vmis_namespace_unless_it_says_another() -> None:
    asked = vmi()
    assert references(asked) == {"net1": ("ns", "fast")}
    other = v1.Network(name="net1", multus=v1.MultusNetwork(network_name="shared/fast"))
    assert references(replace(asked, spec=replace(asked.spec, networks=(other,)))) == {"net1": ("shared", "fast")}


def test_the_definition_says_how_a_function_is_set() -> None:
    config = {"vlan": 100, "vlanQoS": 3, "spoofchk": "off", "trust": "on", "link_state": "enable"}
    found = wish(vmi(mac_address="DE-AD-00-00-BE-EF"), "net1", definition(config))
    assert found == Wish("net1", "intel.com/net1", FunctionState(
        mac="de:ad:00:00:be:ef", vlan=100, qos=3, spoof_check=False, trusted=True, link_state="enable"))


def test_without_a_word_it_is_checked_and_not_trusted() -> None:
    found = wish(vmi(), "net1", definition())
    assert found.state == FunctionState(mac=local_mac("u1/net1"))
    assert int(found.state.mac[:2], 16) & 3 == 2            # locally administered, unicast


def test_a_made_mac_is_each_interfaces_own() -> None:
    assert len({local_mac("u1/net1"), local_mac("u1/net2"), local_mac("u2/net1")}) == 3


def test_a_mac_that_the_guest_had_stays() -> None:
    status = v1.VirtualMachineInstanceStatus(interfaces=(
        v1.VirtualMachineInstanceNetworkInterface(name="net1", mac="02:00:00:00:00:07"),))
    assert wish(replace(vmi(), status=status), "net1", definition()).state.mac == "02:00:00:00:00:07"


def test_plugins_in_a_list_are_found() -> None:
    text = json.dumps({"plugins": [{"type": "sriov", "vlan": 7}, {"type": "tuning"}]})
    assert wish(vmi(), "net1", definition(text)).state.vlan == 7


@pytest.mark.parametrize(("config", "words"), [
    ({"vlan": 5000}, "vlan 5000 is no number from 0 to 4094"),
    ({"vlan": "5"}, "vlan '5'"),
    ({"vlan": True}, "vlan True"),
    ({"vlanQoS": 8}, "vlanQoS 8"),
    ({"trust": "yes"}, "trust 'yes' is none of on, off"),
    ({"link_state": "up"}, "link_state 'up' is none of auto, enable, disable"),
    ("{", "spec.config is no JSON"),
    ('{"type": "bridge"}', "no plugin of type sriov, but bridge"),
    ("[]", "no plugin of type sriov, but none"),
])
def test_a_faulty_definition_is_named_with_the_value(config: Any, words: str) -> None:
    with pytest.raises(FunctionError, match="network attachment definition ns/fast of interface net1") as raised:
        wish(vmi(), "net1", definition(config))
    assert words in str(raised.value)


def test_a_definition_without_a_resource_has_no_function() -> None:
    with pytest.raises(FunctionError, match=r"missing PCI mapping: .* ns/fast .* has no annotation .*resourceName"):
        wish(vmi(), "net1", definition(resource=""))


def test_each_interface_gets_a_function_of_its_own_network() -> None:
    wishes = [Wish(name, resource, FunctionState(mac=name)) for name, resource in (
        ("a", "r1"), ("b", "r2"), ("c", "r1"))]
    found = assigned(wishes, {"r1": ("0000:01:10.2", "0000:01:10.0"), "r2": ("0000:02:10.0",)})
    assert [(each.interface, each.address, each.state.mac) for each in found] == [
        ("a", "0000:01:10.0", "a"), ("b", "0000:02:10.0", "b"), ("c", "0000:01:10.2", "c")]


def test_too_few_functions_are_told() -> None:
    wishes = [Wish(name, "r1", FunctionState()) for name in ("a", "b")]
    with pytest.raises(FunctionError, match=r"no \(other\) device of r1 for interface b"):
        assigned(wishes, {"r1": ("0000:01:10.0",)})


def test_a_mac_may_be_twice_only_in_different_vlans() -> None:
    mine = FunctionState(mac="02:00:00:00:00:01", vlan=5)
    assert twin(mine, 0, {0: mine, 1: FunctionState(mac=mine.mac, vlan=6)}) is None
    assert twin(mine, 0, {0: mine, 3: mine}) == 3
