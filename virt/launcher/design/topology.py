"""PCIe root ports: a slot per device and spare ones, since no port can be added while the guest runs.

libvirt gives each device a port; what is listed here beyond that stays free for hotplug
(https://libvirt.org/pci-hotplug.html). The counts are those of KubeVirt's third PCI topology.
"""

from virt.launcher.domain import Controller, Devices, Domain

_GIB = 1 << 30
_LARGE = 2 * _GIB
_PORTS, _PORTS_LARGE = 8, 16        # in all, at least
_SPARE, _SPARE_LARGE = 3, 6         # free ones, at least


def root_ports(domain: Domain, awaited: int = 0) -> Domain:
    """The ports for a domain whose devices are all known but ``awaited`` ones; nothing for machines without PCIe."""
    machine = domain.os.machine if domain.os else ""
    if "q35" not in machine:
        return Domain()
    is_large = (domain.memory or 0) > _LARGE
    total = max(_PORTS_LARGE if is_large else _PORTS,
                _slots(domain.devices or Devices()) + awaited + (_SPARE_LARGE if is_large else _SPARE))
    ports = (Controller(type="pci", model="pcie-root-port"),) * total
    return Domain(devices=Devices(controllers=(Controller(type="pci", index=0, model="pcie-root"), *ports)))


def _slots(devices: Devices) -> int:
    """How many ports the devices take. Cards of conventional PCI share one, behind a bridge."""
    express = [
        *(card for card in devices.interfaces if _is_express(card.model)),
        *(disk for disk in devices.disks if disk.bus == "virtio"),
        *(each for each in devices.controllers if _is_express(each.model) or each.model == "qemu-xhci"),
        *(each for each in devices.inputs if each.bus == "virtio"),
        *devices.rngs,
        *(device for device in devices.host_devices if device.address is None and device.type != "usb"),
        *(panic for panic in devices.panics if panic.model == "pvpanic"),
    ]
    conventional = bool(devices.watchdogs) or any(not _is_express(card.model) for card in devices.interfaces)
    balloon = devices.balloon is not None and devices.balloon.model != "none"
    return len(express) + conventional + balloon


def _is_express(model: str) -> bool:
    return model.startswith("virtio") or model in ("e1000e", "igb")
