"""Pieces of a node that go into a guest as they are. Pure."""

from virt.api import v1


def has_any(spec: v1.VirtualMachineInstanceSpec) -> bool:
    """Whether a device of the node goes into the guest, so that all of its memory is locked."""
    devices = spec.domain.devices
    return bool(devices.gpus or devices.host_devices) or any(
        interface.sriov is not None for interface in devices.interfaces)
