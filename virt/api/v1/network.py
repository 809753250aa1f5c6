"""Networks and interfaces of a VMI."""

from virt.api.wire import JsonObject, Wire


class PodNetwork(Wire):
    """None of the CIDRs: 10.0.2.0/24 and fd10:0:2::/120, used by masquerade."""

    vm_network_cidr: str = ""
    vm_ipv6_network_cidr: str = ""


class MultusNetwork(Wire):
    """``network_name``: name or namespace/name of a NetworkAttachmentDefinition."""

    network_name: str = ""
    default: bool = False

    def located(self, namespace: str) -> tuple[str, str]:
        """Namespace and name of the definition, as a VMI in ``namespace`` calls it.

        >>> MultusNetwork(network_name="red").located("here"), MultusNetwork(network_name="there/red").located("here")
        (('here', 'red'), ('there', 'red'))
        """
        other, slash, name = self.network_name.partition("/")
        return (other, name) if slash else (namespace, self.network_name)


class Network(Wire):
    """``name`` and exactly one source."""

    name: str = ""
    pod: PodNetwork | None = None
    multus: MultusNetwork | None = None
    resource_claim: JsonObject | None = None


class InterfaceMasquerade(Wire):
    """The guest has a private address behind NAT."""


class InterfaceBridge(Wire):
    """The guest takes over the pod's address."""


class InterfaceSRIOV(Wire):
    """A virtual function of a network card."""


class DeprecatedInterface(Wire):
    """A binding that no longer exists (slirp, macvtap, passt); kept so that it can be refused by name."""


class InterfacePasstBinding(Wire):
    """User space networking."""


class PluginBinding(Wire):
    name: str = ""


class Port(Wire):
    """``protocol``: TCP (also when empty) or UDP."""

    name: str = ""
    protocol: str = ""
    port: int = 0


class DHCPPrivateOptions(Wire):
    """``option``: 224 to 254."""

    option: int = 0
    value: str = ""


class DHCPOptions(Wire):
    boot_file_name: str = ""
    tftp_server_name: str = ""
    ntp_servers: tuple[str, ...] = ()
    private_options: tuple[DHCPPrivateOptions, ...] = ()


class Interface(Wire):
    """``name`` matches a network; exactly one binding. ``state``: "" (up), up, down, absent."""

    name: str = ""
    model: str = ""
    masquerade: InterfaceMasquerade | None = None
    bridge: InterfaceBridge | None = None
    sriov: InterfaceSRIOV | None = None
    slirp: DeprecatedInterface | None = None
    macvtap: DeprecatedInterface | None = None
    passt: DeprecatedInterface | None = None
    passt_binding: InterfacePasstBinding | None = None
    binding: PluginBinding | None = None
    ports: tuple[Port, ...] = ()
    port_ranges: tuple[JsonObject, ...] = ()
    mac_address: str = ""
    boot_order: int | None = None
    pci_address: str = ""
    dhcp_options: DHCPOptions | None = None
    tag: str = ""
    acpi_index: int = 0
    state: str = ""
