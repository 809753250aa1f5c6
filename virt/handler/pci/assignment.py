"""Which of its pod's functions each SR-IOV interface of a VMI gets, and how the card is to treat it. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from virt.api import core, v1
from virt.api.core.attachment import RESOURCE_ANNOTATION
from virt.base.errors import VirtError
from virt.handler.net.addresses import local_mac, plain_mac
from virt.handler.net.model import LINK_STATES, FunctionState

_TYPE = "sriov"
_MOST_VLAN, _MOST_QOS = 4094, 7
_SWITCH = {"on": True, "off": False}


class FunctionError(VirtError):
    """An SR-IOV interface cannot have its function now."""

    reference = "virtual-function"
    hint = "the message names what is missing; the VMI is tried again by itself"


@dataclass(frozen=True)
class Wish:
    """How an interface wants its function. ``resource``: the one whose devices are in the interface's network."""

    interface: str
    resource: str
    state: FunctionState


@dataclass(frozen=True)
class Assignment:
    """``address``: of the function, on the PCI bus."""

    interface: str
    address: str
    state: FunctionState


def references(vmi: v1.VirtualMachineInstance) -> Mapping[str, tuple[str, str]]:
    """Namespace and name of the network's definition for each SR-IOV interface, by the interface's name."""
    networks = {network.name: network.multus for network in vmi.spec.networks if network.multus is not None}
    found = {}
    for interface in vmi.spec.domain.devices.interfaces:
        multus = networks.get(interface.name)
        if interface.sriov is not None and interface.state != "absent" and multus is not None:
            found[interface.name] = multus.located(vmi.metadata.namespace)
    return found


def wish(
    vmi: v1.VirtualMachineInstance, interface: str, definition: core.NetworkAttachmentDefinition
) -> Wish:
    """What ``interface`` is to have, by its network's definition. Raises FunctionError."""
    where = f"{definition.called} of interface {interface}"
    if not definition.resource:
        raise FunctionError(f"missing PCI mapping: {where} has no annotation {RESOURCE_ANNOTATION}")
    asked = next(each for each in vmi.spec.domain.devices.interfaces if each.name == interface)
    known = {each.name: each.mac for each in vmi.status.interfaces if each.name}
    config = _plugin(where, definition)
    return Wish(interface, definition.resource, FunctionState(
        mac=plain_mac(asked.mac_address) or known.get(interface, "") or local_mac(f"{vmi.metadata.uid}/{interface}"),
        vlan=_number(where, config, "vlan", _MOST_VLAN),
        qos=_number(where, config, "vlanQoS", _MOST_QOS),
        spoof_check=_word(where, config, "spoofchk", "on", _SWITCH),
        trusted=_word(where, config, "trust", "off", _SWITCH),
        link_state=_word(where, config, "link_state", "auto", {word: word for word in LINK_STATES}),
    ))


def assigned(wishes: Sequence[Wish], given: Mapping[str, Sequence[str]]) -> tuple[Assignment, ...]:
    """``given``: the addresses of the pod's functions by resource. Each interface gets the next one of its own
    network's, in the order of the spec. Raises FunctionError."""
    left = {resource: sorted(addresses) for resource, addresses in given.items()}
    found = []
    for each in wishes:
        free = left.get(each.resource)
        if not free:
            raise FunctionError(f"missing PCI mapping: the pod was given no (other) device of {each.resource} for "
                                f"interface {each.interface}")
        found.append(Assignment(each.interface, free.pop(0), each.state))
    return tuple(found)


def twin(wanted: FunctionState, number: int, states: Mapping[int, FunctionState]) -> int | None:
    """The number of another function of the card that has the same MAC in the same VLAN; None without one."""
    return next(
        (other for other, state in states.items()
         if other != number and (state.mac, state.vlan) == (wanted.mac, wanted.vlan)), None)


def _plugin(where: str, definition: core.NetworkAttachmentDefinition) -> Mapping[str, Any]:
    """The configuration of the plugin ``sriov`` in a definition, {} for one without any."""
    if not definition.spec.config.strip():
        return {}
    try:
        plugins = definition.plugins()
    except ValueError as error:
        raise FunctionError(f"{where}: spec.config is no JSON: {error}") from error
    found = next((each for each in plugins if each.get("type") == _TYPE), None)
    if found is None:
        types = [str(each.get("type"))[:40] for each in plugins]
        raise FunctionError(f"{where}: spec.config has no plugin of type {_TYPE}, but {', '.join(types) or 'none'}")
    return found


def _number(where: str, config: Mapping[str, Any], name: str, most: int) -> int:
    value = config.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise FunctionError(f"{where}: spec.config {name} {value!r} is no number from 0 to {most}")
    return value


def _word(where: str, config: Mapping[str, Any], name: str, unset: str, words: Mapping[str, Any]) -> Any:
    value = config.get(name, unset)
    if not isinstance(value, str) or value not in words:
        raise FunctionError(f"{where}: spec.config {name} {value!r} is none of {', '.join(words)}")
    return words[value]
