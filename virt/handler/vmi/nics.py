"""Interfaces and networks of a VMI's spec as the nodes' network code wants them. Pure."""

from virt.api import v1
from virt.handler.net.model import Binding, DhcpExtras, GuestNic, NetworkPlanError, PortRange

_MAX_QUEUES = 256             # MAX_TAP_QUEUES of the kernel


def guest_nics(vmi: v1.VirtualMachineInstance) -> tuple[GuestNic, ...]:
    """One per interface that the handler wires, in the order of the spec.

    Absent interfaces and SR-IOV ones (their card goes into the guest as it is) are left out. Raises NetworkPlanError.
    """
    networks = {network.name: network for network in vmi.spec.networks}
    # The card of a guest that has moved is still the one it started with; the pod's has another address by now.
    known = {interface.name: interface.mac for interface in vmi.status.interfaces if interface.name}
    return tuple(
        _nic(interface, networks.get(interface.name), vmi, known.get(interface.name, ""))
        for interface in vmi.spec.domain.devices.interfaces
        if interface.state != "absent" and interface.sriov is None
    )


def queue_count(interface: v1.Interface, domain: v1.DomainSpec) -> int:
    """Queue pairs: one per vCPU with multiqueue on a virtio card, else one."""
    if not domain.devices.network_interface_multiqueue or interface.model not in ("", "virtio"):
        return 1
    cpu = domain.cpu or v1.CPU()
    return min(max(cpu.sockets, 1) * max(cpu.cores, 1) * max(cpu.threads, 1), _MAX_QUEUES)


def _nic(
    interface: v1.Interface, network: v1.Network | None, vmi: v1.VirtualMachineInstance, known_mac: str
) -> GuestNic:
    if network is None:
        raise NetworkPlanError(f"interface {interface.name!r} has no network of that name")
    pod = network.pod or v1.PodNetwork()
    multus = network.multus if network.multus is not None and not network.multus.default else None
    return GuestNic(
        name=interface.name,
        binding=_binding(interface),
        network=network.name if multus is not None else "",
        definition="/".join(multus.located(vmi.metadata.namespace)) if multus is not None else "",
        mac=interface.mac_address or known_mac,
        ports=tuple(PortRange(port.protocol.lower() or "tcp", port.port, port.port) for port in interface.ports),
        cidr=pod.vm_network_cidr,
        cidr6=pod.vm_ipv6_network_cidr,
        queues=queue_count(interface, vmi.spec.domain),
        dhcp=_dhcp(interface.dhcp_options or v1.DHCPOptions(), vmi.spec.subdomain),
    )


def _binding(interface: v1.Interface) -> Binding:
    if interface.masquerade is not None:
        return Binding.MASQUERADE
    if interface.bridge is not None:
        return Binding.BRIDGE
    raise NetworkPlanError(f"interface {interface.name!r} has no binding that this node can make")


def _dhcp(options: v1.DHCPOptions, subdomain: str) -> DhcpExtras:
    return DhcpExtras(
        boot_file=options.boot_file_name,
        tftp_server=options.tftp_server_name,
        ntp_servers=options.ntp_servers,
        private_options=tuple((option.option, option.value) for option in options.private_options),
        subdomain=subdomain,
    )
