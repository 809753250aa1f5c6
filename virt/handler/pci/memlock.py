"""Lets the processes of a launcher lock the guest's memory, as VFIO does for devices that read and write it.

A launcher has no capability, so its limit (RLIMIT_MEMLOCK, some MiB) is raised from outside. libvirtd, which will start
QEMU, is a child of the launcher by then; QEMU inherits from it. libvirt tries to set the limit too, may not, and goes
on where it is high enough.
"""

import math
import re
import resource
from collections.abc import Callable
from pathlib import Path

from virt.api import quantity, v1
from virt.base.errors import VirtError
from virt.handler.launchers.process import Process, family, pod_of

_DEVICES = 1 << 30            # what libvirt adds for the devices' own memory
_STEP = 4 << 20               # libvirt rounds the guest's memory up
_LOCKED = re.compile(r"^Max locked memory +(\d+|unlimited) +(\d+|unlimited)", re.MULTILINE)     # soft, hard
SetLimit = Callable[[int, int, tuple[int, int]], object]


class MemoryLockError(VirtError):
    """The limit cannot be raised."""

    reference = "memory-lock"
    hint = "the node agent needs CAP_SYS_RESOURCE in the machine's own user namespace, which a container may lack"


def locked_bytes(spec: v1.VirtualMachineInstanceSpec, permitted: v1.PermittedHostDevices) -> int:
    """What the guest's QEMU has to lock, 0 for a guest without devices of the node that read and write its memory: USB
    devices do not."""
    usb = {each.resource_name for each in permitted.usb}
    if not (_has_function(spec) or _resources(spec) - usb):
        return 0
    memory, resources = spec.domain.memory, spec.domain.resources
    asked = (memory.guest if memory else None, resources.requests.get("memory"), resources.limits.get("memory"))
    guest = next((quantity.integer(value) for value in asked if value is not None), 0)
    return -(-guest // _STEP) * _STEP + _DEVICES


def is_certain(spec: v1.VirtualMachineInstanceSpec, permitted: v1.PermittedHostDevices) -> bool:
    """Whether the guest cannot start without. What somebody else's device plugin gave is for its launcher to see."""
    listed = (*permitted.pci_host_devices, *permitted.mediated_devices)
    others = {each.resource_name for each in listed if each.external_resource_provider}
    return _has_function(spec) or bool(_resources(spec) - others - {each.resource_name for each in permitted.usb})


def _has_function(spec: v1.VirtualMachineInstanceSpec) -> bool:
    return any(each.sriov is not None for each in spec.domain.devices.interfaces)


def _resources(spec: v1.VirtualMachineInstanceSpec) -> frozenset[str]:
    devices = spec.domain.devices
    return frozenset((*(each.device_name for each in devices.gpus),
                      *(each.device_name for each in devices.host_devices)))


def allow(
    process: Process, size: int, *, proc: Path = Path("/proc"), set_limit: SetLimit = resource.prlimit
) -> None:
    """Let the launcher and all its children lock ``size`` bytes; who may already is left alone.

    Raises MemoryLockError.
    """
    for pid in family(process.pid, proc):
        # A number may be another process's by now: only those of the pod count.
        if pod_of(pid, proc) != process.pod_uid or lockable(pid, proc) >= size:
            continue
        try:
            set_limit(pid, resource.RLIMIT_MEMLOCK, (size, size))
        except ProcessLookupError:
            continue
        except OSError as error:
            raise MemoryLockError(f"process {pid} of pod {process.pod_uid} cannot be allowed to lock {size} bytes of "
                                  f"memory: {error}") from error


def lockable(pid: int, proc: Path) -> float:
    """How many bytes a process may lock, infinity without a limit; 0 for one that has ended."""
    try:
        limits = (proc / str(pid) / "limits").read_text()
    except OSError:
        return 0
    found = _LOCKED.search(limits)
    return min(math.inf if word == "unlimited" else int(word) for word in found.groups()) if found else 0
