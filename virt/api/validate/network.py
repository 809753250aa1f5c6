"""Networks and interfaces of a VMI: rules 83 to 94 of the specification."""

import ipaddress
import re

from virt.api import pciaddress, v1
from virt.api.clusterconfig import ClusterConfig
from virt.api.ipaddresses import is_address, plain
from virt.api.validate.causes import Causes, duplicate, invalid, not_supported, repeated, required
from virt.api.validate.volumes import MAX_ENTRIES

MODELS = ("virtio", "e1000", "e1000e", "igb", "ne2k_pci", "pcnet", "rtl8139")
RESERVED_MAC = "02:00:00:00:00:00"       # the pod's side of masquerade
_BINDINGS = ("masquerade", "bridge", "sriov", "slirp", "macvtap", "passt", "passt_binding", "binding")
_DISCONTINUED = ("slirp", "macvtap", "passt")
_STATES = ("up", "down", "absent")
_DEFINITION = re.compile(r"([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/)?[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_PORT_NAME = re.compile(r"(?=.*[a-z])[a-z0-9]([a-z0-9]|-(?!-)){0,13}[a-z0-9]|[a-z]", re.ASCII)
_MAC = re.compile(r"[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}", re.ASCII)


def causes(path: str, spec: v1.VirtualMachineInstanceSpec, config: ClusterConfig) -> Causes:
    """``path`` is that of the VMI's spec."""
    if len(spec.networks) > MAX_ENTRIES:
        yield invalid(f"{path}.networks", f"{path}.networks list exceeds the {MAX_ENTRIES} element limit in length")
        return
    yield from _networks(path, spec)
    networks = {network.name: network for network in spec.networks}
    interfaces = spec.domain.devices.interfaces
    twice = repeated(interface.name for interface in interfaces)
    for index, interface in enumerate(interfaces):
        field = f"{path}.domain.devices.interfaces[{index}]"
        if index in twice:
            yield duplicate(f"{field}.name", "Only one interface can be connected to one specific network")
        yield from _interface(field, interface, networks.get(interface.name), config)


def _networks(path: str, spec: v1.VirtualMachineInstanceSpec) -> Causes:
    names = {interface.name for interface in spec.domain.devices.interfaces}
    twice = repeated(network.name for network in spec.networks)
    for index, network in enumerate(spec.networks):
        field = f"{path}.networks[{index}]"
        if index in twice:
            yield duplicate(f"{field}.name",
                            f"Network with name {network.name!r} already exists, every network must have a unique name")
        if network.name not in names:
            yield invalid(f"{field}.name", f"{field}.name '{network.name}' not found.")
        given = sum(source is not None for source in (network.pod, network.multus, network.resource_claim))
        if given != 1:
            yield invalid(field, "should only have one network type" if given else "should have a network type")
        if network.multus is not None and not network.multus.network_name:
            yield required(field, "CNI delegating plugin must have a networkName")
        elif network.multus is not None and _DEFINITION.fullmatch(network.multus.network_name) is None:
            yield invalid(f"{field}.multus.networkName", f"{field}.multus.networkName "
                          f"{network.multus.network_name!r} is not the name of a network attachment definition, with "
                          "or without \"namespace/\" before it")
        if network.pod is not None:
            yield from _cidr(f"{field}.pod.vmNetworkCIDR", network.pod.vm_network_cidr, 4)
            yield from _cidr(f"{field}.pod.vmIPv6NetworkCIDR", network.pod.vm_ipv6_network_cidr, 6)
    pods = sum(network.pod is not None for network in spec.networks)
    defaults = sum(network.multus is not None and network.multus.default for network in spec.networks)
    if pods > 1:
        field = f"{path}.interfaces"
        yield duplicate(field, f"more than one interface is connected to a pod network in {field}")
    if defaults > 1:
        yield invalid(f"{path}.networks", "Multus CNI should only have one default network")
    if defaults and pods:
        yield invalid(f"{path}.networks", "Pod network cannot be defined when Multus default network is defined")


def _cidr(path: str, text: str, version: int) -> Causes:
    if not text:
        return
    try:
        network = ipaddress.ip_network(plain(text), strict=False)
    except ValueError:
        yield invalid(path, f"{path} {text!r} is no CIDR")
        return
    if network.version != version:
        yield invalid(path, f"{path} {text!r} is no IPv{version} CIDR")
    elif network.num_addresses < 4:
        yield invalid(path, f"{path}: VM CIDR subnet is too small: {text!r} has no room for a gateway and a guest")


def _interface(path: str, interface: v1.Interface, network: v1.Network | None, config: ClusterConfig) -> Causes:
    if _NAME.fullmatch(interface.name) is None:
        yield invalid(f"{path}.name", "Network interface name can only contain alphabetical characters, numbers, "
                                      "dashes (-) or underscores (_)")
    elif network is None:
        yield invalid(f"{path}.name", f"{path}.name '{interface.name}' not found.")
    yield from _binding(path, interface, network, config)
    yield from _mac(f"{path}.macAddress", interface)
    if interface.model and interface.model not in MODELS:
        yield not_supported(f"{path}.model", f"interface {path}.name uses model {interface.model} that is not "
                                             f"supported, use one of {', '.join(MODELS)}")
    yield from _ports(path, interface)
    yield from _state(f"{path}.state", interface, network)
    if interface.pci_address:
        yield from _pci_address(f"{path}.pciAddress", interface.pci_address)
    if interface.dhcp_options is not None:
        yield from _dhcp(f"{path}.dhcpOptions", interface.dhcp_options)


def _binding(path: str, interface: v1.Interface, network: v1.Network | None, config: ClusterConfig) -> Causes:
    given = [name for name in _BINDINGS if getattr(interface, name) is not None]
    if len(given) != 1:
        yield invalid(path, f"{path} must have exactly one binding method, but has {', '.join(given) or 'none'}")
    for name in _DISCONTINUED:
        if name in given:
            yield invalid(f"{path}.name", f"{name.capitalize()} interface support has been discontinued")
    on_pod_network = network is not None and network.pod is not None
    if interface.masquerade is not None and network is not None and not on_pod_network:
        yield invalid(f"{path}.name", "Masquerade interface only implemented with pod network")
    if interface.sriov is not None and network is not None and network.multus is None:
        yield invalid(f"{path}.name", "SRIOV interface only implemented with Multus network")
    if interface.bridge is not None and on_pod_network and not config.permit_bridge_on_pod_network:
        yield invalid(f"{path}.name", "Bridge on pod network configuration is not enabled under kubevirt-config")


def _state(path: str, interface: v1.Interface, network: v1.Network | None) -> Causes:
    name, state = interface.name, interface.state
    if state and state not in _STATES:
        yield invalid(path, f"logical {name} interface state value is unsupported: {state}")
    elif state and interface.sriov is not None:
        yield invalid(path, f"{name!r} interface's state {state!r} is not supported for SR-IOV NICs")
    elif state == "absent" and interface.bridge is None:
        yield invalid(path, f"{name!r} interface's state {state!r} is supported only for bridge binding")
    elif state == "absent" and network is not None and network.pod is not None:
        yield invalid(path, f"{name!r} interface's state {state!r} is not supported on default networks")


def _pci_address(path: str, text: str) -> Causes:
    try:
        pciaddress.parts(text)
    except pciaddress.PciAddressError as error:
        yield invalid(path, f"{path} is malformed: {error}")


def _mac(path: str, interface: v1.Interface) -> Causes:
    mac = interface.mac_address
    if not mac:
        return
    if _MAC.fullmatch(mac) is None:
        yield invalid(path, f"interface {path} has malformed MAC address ({mac}).")
        return
    octets = mac.replace("-", ":").lower()
    if int(octets[:2], 16) & 1 or octets == "00:00:00:00:00:00":
        yield invalid(path, f"interface {path} has MAC address ({mac}) that is no unicast address.")
    elif interface.masquerade is not None and octets == RESERVED_MAC:
        yield invalid(path, f"interface {path} has the MAC address {mac} that is reserved for the in-pod bridge.")


def _ports(path: str, interface: v1.Interface) -> Causes:
    seen: set[str] = set()
    for index, port in enumerate(interface.ports):
        field = f"{path}.ports[{index}]"
        if port.name in seen:
            yield duplicate(f"{field}.name", f"Duplicate name of the port: {port.name}")
        if port.name:
            seen.add(port.name)
            if _PORT_NAME.fullmatch(port.name) is None:
                yield invalid(f"{field}.name", f"Invalid name of the port: {port.name}")
        if port.protocol not in ("", "TCP", "UDP"):
            yield invalid(f"{field}.protocol", f"Unknown protocol, only TCP or UDP allowed: {port.protocol}")
        if port.port == 0:
            yield required(f"{field}.port", "Port field is mandatory.")
        elif not 1 <= port.port <= 65535:
            yield invalid(f"{field}.port", "Port field must be in range 0 < x < 65536.")


def _dhcp(path: str, options: v1.DHCPOptions) -> Causes:
    seen: set[int] = set()
    for index, option in enumerate(options.private_options):
        field = f"{path}.privateOptions[{index}].option"
        if not 224 <= option.option <= 254:
            yield invalid(field, "provided DHCPPrivateOptions are out of range, must be in range 224 to 254")
        elif option.option in seen:
            yield duplicate(field, "Found Duplicates: you have provided duplicate DHCPPrivateOptions")
        seen.add(option.option)
    for index, server in enumerate(options.ntp_servers):
        if not is_address(server, version=4):
            yield invalid(f"{path}.ntpServers[{index}]", "NTP servers must be a list of valid IPv4 addresses.")
