"""What a launcher pod asks of its node. KubeVirt: pkg/virt-controller/services/renderresources.go."""

from collections.abc import Collection, Mapping
from fractions import Fraction
from typing import Final

from virt.api import core, names, passthrough, quantity, v1
from virt.api.clusterconfig import ClusterConfig
from virt.api.quantity import GIB, MIB
from virt.api.wire import Quantity
from virt.controller.vmi.pod import hostdevices

# libvirt, QEMU's own memory and the launcher itself, whatever the guest looks like.
_LAUNCHER_BYTES: Final = 240 * MIB
_PER_VCPU: Final = 8 * MIB
_IO_THREAD: Final = 8 * MIB
_GRAPHICS: Final = 32 * MIB
_ARM64_FIRMWARE: Final = 128 * MIB
_TPM: Final = 53 * MIB
_GUARANTEED: Final = 100 * MIB
_VFIO: Final = GIB                      # QEMU maps the devices' own memory beside the guest's
_EXEC_PROBES: Final = 100 * MIB         # once, when a probe runs a command in the guest
_EXEC_PROBE: Final = 10 * MIB           # and for each that does
_PAGE_TABLES: Final = 512               # bytes of guest memory per byte of page table
_QUOTA_RATIO: Final = 2                 # of a memory limit that only a quota asks for
_EPHEMERAL_STORAGE: Final = 50_000_000  # logs and the like, beside what the user asks for

# No CPU limits: a container's start itself runs under its limit, and with 10m that alone takes over a second. A pod of
# class Guaranteed, or in a namespace with a quota of limits, must have them on every container: then this one.
_LIMITED_CPU: Final = "50m"
_SIDECARS: Final[Mapping[str, core.ResourceRequirements]] = {
    "container-disk": core.ResourceRequirements(
        requests={"cpu": "1m", "memory": "1M", "ephemeral-storage": "50M"}, limits={"memory": "40M"},
    ),
    "guest-console-log": core.ResourceRequirements(
        requests={"cpu": "5m", "memory": "35M"}, limits={"memory": "60M"},
    ),
    "hotplug-disk": core.ResourceRequirements(
        requests={"cpu": "10m", "memory": "2M"}, limits={"memory": "80M"},
    ),
}


def vcpus(spec: v1.VirtualMachineInstanceSpec) -> int:
    cpu = spec.domain.cpu or v1.CPU()
    return (cpu.cores or 1) * (cpu.sockets or 1) * (cpu.threads or 1)


def guest_bytes(spec: v1.VirtualMachineInstanceSpec) -> int:
    """What the guest sees as its memory; 0 when nothing says it (admission refuses that)."""
    memory, resources = spec.domain.memory, spec.domain.resources
    asked: tuple[Quantity | None, ...] = (
        memory.guest if memory else None, resources.requests.get("memory"), resources.limits.get("memory"),
    )
    return next((quantity.integer(value) for value in asked if value is not None), 0)


def overhead_bytes(spec: v1.VirtualMachineInstanceSpec, config: ClusterConfig) -> int:
    """What the pod needs beyond the guest's memory."""
    devices = spec.domain.devices
    total = _LAUNCHER_BYTES + guest_bytes(spec) // _PAGE_TABLES + _PER_VCPU * vcpus(spec) + _IO_THREAD
    if devices.autoattach_graphics_device is not False:
        total += _GRAPHICS
    if spec.architecture == "arm64":
        total += _ARM64_FIRMWARE
    if devices.tpm is not None and devices.tpm.enabled is not False:
        total += _TPM
    if is_guaranteed(spec):
        total += _GUARANTEED
    if passthrough.has_any(spec):
        total += _VFIO
    probes = (spec.liveness_probe, spec.readiness_probe)
    commands = sum(probe is not None and probe.exec is not None for probe in probes)
    if commands:
        total += _EXEC_PROBES + _EXEC_PROBE * commands
    return int(total * Fraction(config.additional_guest_memory_overhead_ratio))


def is_guaranteed(spec: v1.VirtualMachineInstanceSpec) -> bool:
    """Requests equal limits for CPU and memory, so Kubernetes gives the pod the class Guaranteed."""
    resources = spec.domain.resources
    return all(
        name in resources.requests and name in resources.limits
        and quantity.parse(resources.requests[name]) == quantity.parse(resources.limits[name])
        for name in ("cpu", "memory")
    )


def compute(
    spec: v1.VirtualMachineInstanceSpec, config: ClusterConfig, *, limited: Collection[str] = (),
    functions: Mapping[str, str] | None = None,
) -> core.ResourceRequirements:
    """Requests and limits of the container that runs QEMU. ``functions``: the resources of secondary networks by name.

    ``limited``: "cpu" and "memory" where a quota of the namespace counts limits, so that no pod may be without: then
    all vCPUs, and twice the memory that is requested.
    """
    asked = spec.domain.resources
    overhead = overhead_bytes(spec, config)
    memory = asked.requests.get("memory")
    wanted = quantity.integer(memory) if memory is not None else guest_bytes(spec) * 100 // config.memory_overcommit
    requests: dict[str, Quantity] = {
        "cpu": asked.requests.get("cpu") or quantity.of_milli(vcpus(spec) * 1000 // config.cpu_allocation_ratio),
        "memory": quantity.of_bytes(wanted + (0 if asked.overcommit_guest_overhead else overhead)),
        "ephemeral-storage": quantity.of_bytes(
            quantity.integer(asked.requests.get("ephemeral-storage", 0)) + _EPHEMERAL_STORAGE),
    }
    devices = {name: str(count) for name, count in hostdevices.resources(spec, functions or {}).items()}
    requests |= devices
    limits: dict[str, Quantity] = {names.TUN_RESOURCE: "1", **devices}
    if not config.use_emulation:
        limits[names.KVM_RESOURCE] = "1"
    if "cpu" in asked.limits:
        limits["cpu"] = asked.limits["cpu"]
    elif "cpu" in limited:
        limits["cpu"] = str(max(vcpus(spec), quantity.integer(requests["cpu"])))
    if "memory" in asked.limits:
        limits["memory"] = quantity.of_bytes(quantity.integer(asked.limits["memory"]) + overhead)
    elif "memory" in limited:
        limits["memory"] = quantity.of_bytes(_QUOTA_RATIO * quantity.integer(requests["memory"]))
    if "ephemeral-storage" in asked.limits:
        limits["ephemeral-storage"] = quantity.of_bytes(
            quantity.integer(asked.limits["ephemeral-storage"]) + _EPHEMERAL_STORAGE)
    return core.ResourceRequirements(requests=requests, limits=limits)


def sidecar(
    kind: str, config: ClusterConfig, *, guaranteed: bool = False, limited: Collection[str] = ()
) -> core.ResourceRequirements:
    """``kind``: container-disk, guest-console-log or hotplug-disk; the KubeVirt CR may say otherwise. ``guaranteed``:
    the pod is to have the class Guaranteed, so nothing is requested that is not limited to the same. ``limited`` as in
    compute."""
    chosen = config.support_container_resources.get(kind) or _SIDECARS[kind]
    requests, limits = dict(chosen.requests), dict(chosen.limits)
    for name, usual in (("cpu", _LIMITED_CPU), ("memory", _SIDECARS[kind].limits["memory"])):
        if guaranteed or name in limited:
            limits.setdefault(name, usual)
        if guaranteed:
            requests[name] = limits[name]
    if kind == "container-disk":
        limits[names.CONTAINER_DISK_RESOURCE] = "1"
    return core.ResourceRequirements(requests=requests, limits=limits)
