"""Network cards: one per interface, on the tap that the handler made. Those of SR-IOV are in ``hostdevices``."""

from dataclasses import replace

from virt.api import v1
from virt.launcher.alias import alias
from virt.launcher.design.errors import DesignError
from virt.launcher.design.hostdevices import pci_address
from virt.launcher.design.models import VIRTIO_MODEL
from virt.launcher.design.request import Request
from virt.launcher.domain import Devices, Domain, Interface
from virt.rpc.messages import WiredInterface

MAX_QUEUES = 256                    # of a multi-queue tap
DEFAULT_MODEL = "virtio"


def interfaces(request: Request) -> Domain:
    wired = {each.name: each for each in request.prepared.interfaces}
    cards = []
    for index, interface in enumerate(request.devices.interfaces):
        if interface.state == "absent" or interface.sriov is not None:
            continue
        if interface.name not in wired:
            raise DesignError(f"spec.domain.devices.interfaces[{index}].name",
                              f"interface {interface.name!r} was not wired by the node")
        path = f"spec.domain.devices.interfaces[{index}].pciAddress"
        address = pci_address(path, interface.pci_address) if interface.pci_address else None
        cards.append(replace(_card(interface, wired[interface.name], request), address=address))
    return Domain(devices=Devices(interfaces=tuple(cards)))


def _card(interface: v1.Interface, wired: WiredInterface, request: Request) -> Interface:
    is_virtio = interface.model in ("", DEFAULT_MODEL)
    queues = min(request.vcpus, MAX_QUEUES) if request.devices.network_interface_multiqueue and is_virtio else 1
    return Interface(
        type="ethernet", tap=wired.tap, managed=False, mac=wired.mac, mtu=wired.mtu or None,
        model=VIRTIO_MODEL if is_virtio else interface.model,
        # A tap opened with one queue is not a multi-queue tap, so one queue is said by saying nothing.
        queues=queues if queues > 1 else None,
        link="down" if interface.state == "down" else "",
        # The card's own boot ROM would only delay a boot that is not from the network.
        rom_enabled=None if interface.boot_order else False,
        boot_order=interface.boot_order,
        alias=alias(interface.name),
    )
