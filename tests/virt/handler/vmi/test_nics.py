import pytest

from tests.virt.handler.world import vmi
from virt.api import v1
from virt.handler.net.model import Binding, DhcpExtras, GuestNic, NetworkPlanError, PortRange
from virt.handler.vmi.nics import guest_nics


def with_interfaces(
    *interfaces: v1.Interface, networks: tuple[v1.Network, ...], cpu: v1.CPU | None = None, multiqueue: bool = False
) -> v1.VirtualMachineInstance:
    devices = v1.Devices(interfaces=interfaces, network_interface_multiqueue=multiqueue or None)
    return vmi(domain=v1.DomainSpec(devices=devices, cpu=cpu), networks=networks)


def test_everything_that_a_person_can_say_arrives() -> None:
    found = guest_nics(with_interfaces(
        v1.Interface(
            name="a", masquerade=v1.InterfaceMasquerade(), mac_address="02:00:00:00:00:01",
            ports=(v1.Port(port=80), v1.Port(port=53, protocol="UDP")),
            dhcp_options=v1.DHCPOptions(
                boot_file_name="f", tftp_server_name="t", ntp_servers=("10.0.0.1",),
                private_options=(v1.DHCPPrivateOptions(option=240, value="x"),),
            ),
        ),
        v1.Interface(name="b", bridge=v1.InterfaceBridge()),
        v1.Interface(name="c", bridge=v1.InterfaceBridge(), state="absent"),
        v1.Interface(name="d", sriov=v1.InterfaceSRIOV()),
        v1.Interface(name="e", bridge=v1.InterfaceBridge(), model="e1000e"),
        networks=(
            v1.Network(name="a", pod=v1.PodNetwork(vm_network_cidr="10.9.0.0/24", vm_ipv6_network_cidr="fd09::/120")),
            *(v1.Network(name=name, multus=v1.MultusNetwork(network_name=name)) for name in "bcd"),
            v1.Network(name="e", multus=v1.MultusNetwork(network_name="shared/slow")),
        ),
        cpu=v1.CPU(sockets=2, cores=2, threads=1), multiqueue=True,
    ))
    assert found == (
        GuestNic(
            "a", Binding.MASQUERADE, mac="02:00:00:00:00:01",
            ports=(PortRange("tcp", 80, 80), PortRange("udp", 53, 53)), cidr="10.9.0.0/24", cidr6="fd09::/120",
            queues=4, dhcp=DhcpExtras("f", "t", ("10.0.0.1",), ((240, "x"),)),
        ),
        GuestNic("b", Binding.BRIDGE, network="b", definition="ns/b", queues=4),
        GuestNic("e", Binding.BRIDGE, network="e", definition="shared/slow"),
    )


def test_the_subdomain_goes_with_the_dhcp_options() -> None:
    found = vmi(subdomain="sub")
    assert [nic.dhcp.subdomain for nic in guest_nics(found)] == ["sub"]


def test_a_default_multus_network_is_the_pods_own_card() -> None:
    network = v1.Network(name="a", multus=v1.MultusNetwork(network_name="x", default=True))
    nic, = guest_nics(with_interfaces(v1.Interface(name="a", bridge=v1.InterfaceBridge()), networks=(network,)))
    assert nic.network == ""


@pytest.mark.parametrize("interface", [
    v1.Interface(name="other", masquerade=v1.InterfaceMasquerade()), v1.Interface(name="a"),
])
def test_what_cannot_be_made_is_said(interface: v1.Interface) -> None:
    with pytest.raises(NetworkPlanError):
        guest_nics(with_interfaces(interface, networks=(v1.Network(name="a", pod=v1.PodNetwork()),)))
