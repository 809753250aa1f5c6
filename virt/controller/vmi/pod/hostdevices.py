"""Devices of the node that a launcher pod asks for. KubeVirt: validatePermittedHostDevices in
pkg/virt-controller/services/template.go."""

from collections import Counter
from collections.abc import Iterable, Mapping

from virt.api import v1
from virt.api.clusterconfig import ClusterConfig


def not_permitted(spec: v1.VirtualMachineInstanceSpec, config: ClusterConfig) -> str:
    """Why the pod may not be made, "" when it may. Nothing is permitted that the KubeVirt CR does not name."""
    listed = config.permitted_host_devices
    known = (
        {each.resource_name for each in listed.pci_host_devices}
        | {each.resource_name for each in listed.mediated_devices} | {each.resource_name for each in listed.usb}
    )
    devices = spec.domain.devices
    asked: Iterable[tuple[str, v1.GPU | v1.HostDevice]] = (
        *(("GPU", gpu) for gpu in devices.gpus), *(("HostDevice", device) for device in devices.host_devices))
    return " ".join(
        f"{kind} {device.device_name} is not permitted in permittedHostDevices configuration"
        for kind, device in asked if device.device_name not in known
    )


def resources(spec: v1.VirtualMachineInstanceSpec, functions: Mapping[str, str]) -> Mapping[str, int]:
    """How many devices of which resource the pod needs. ``functions``: resource by name of the spec's
    secondary network."""
    devices = spec.domain.devices
    return Counter((
        *(gpu.device_name for gpu in devices.gpus),
        *(device.device_name for device in devices.host_devices),
        *(functions[interface.name] for interface in devices.interfaces
          if functions.get(interface.name)),
    ))
