"""CPU, memory and machine of a VMI: rules 20 to 36 of the specification."""

from virt.api import v1
from virt.api.clusterconfig import ARCHITECTURES, ClusterConfig
from virt.api.resize import MAX_VCPUS
from virt.api.status import StatusCause
from virt.api.validate.causes import Causes, amount, invalid, not_supported, required

_MEMORY_FLOOR = 10**6
_FEATURE_POLICIES = ("force", "require", "optional", "disable", "forbid")


def causes(path: str, spec: v1.VirtualMachineInstanceSpec, config: ClusterConfig) -> Causes:
    yield from _memory(f"{path}.domain", spec.domain, config)
    yield from _cpu_resources(f"{path}.domain.resources", spec.domain.resources)
    yield from _cpu(f"{path}.domain.cpu", spec.domain.cpu or v1.CPU(), spec.architecture)
    yield from _platform(path, spec, config)


def memory_given(spec: v1.VirtualMachineInstanceSpec) -> Causes:
    """A VMI has to say how much memory it wants. Not asked of VMs: there the VMI is refused, as KubeVirt does it."""
    resources, memory = spec.domain.resources, spec.domain.memory or v1.Memory()
    sources = (resources.requests.get("memory"), resources.limits.get("memory"), memory.guest, memory.hugepages)
    if all(source is None for source in sources):
        yield required("", "no memory requested")


def _memory(path: str, domain: v1.DomainSpec, config: ClusterConfig) -> Causes:
    found: list[StatusCause] = []
    requests, limits = f"{path}.resources.requests.memory", f"{path}.resources.limits.memory"
    guest_path, max_path = f"{path}.memory.guest", f"{path}.memory.maxGuest"
    memory = domain.memory or v1.Memory()
    request = amount(requests, domain.resources.requests.get("memory"), found)
    limit = amount(limits, domain.resources.limits.get("memory"), found)
    guest = amount(guest_path, memory.guest, found)
    largest = amount(max_path, memory.max_guest, found)
    yield from found
    if limit is not None and limit < 0:
        yield invalid(limits, f"{limits} must be greater than or equal to 0")
        limit = None
    if request is not None and request < 0:
        yield invalid(requests, f"{requests} must be greater than or equal to 0")
    elif request is not None and request < _MEMORY_FLOOR:
        yield invalid(requests, f"{requests} must be greater than or equal to 1M")
    elif request is not None and limit is not None and request > limit:
        yield invalid(requests, f"{requests} is greater than {limits}")
    if guest is not None and guest < _MEMORY_FLOOR and guest != request:
        yield invalid(guest_path, f"{guest_path} must be greater than or equal to 1M")
    # Under LiveUpdate the limit follows the guest's memory, so only Stage can be broken by it.
    elif guest is not None and limit is not None and guest > limit and config.rollout_strategy == "Stage":
        yield invalid(guest_path, f"{guest_path} must be equal to or less than the memory limit {limits}")
    if guest is not None and largest is not None and guest > largest:
        yield invalid(guest_path, f"{guest_path} must be equal to or less than {max_path}")


def _cpu_resources(path: str, resources: v1.ResourceRequirements) -> Causes:
    found: list[StatusCause] = []
    requests, limits = f"{path}.requests.cpu", f"{path}.limits.cpu"
    request = amount(requests, resources.requests.get("cpu"), found)
    limit = amount(limits, resources.limits.get("cpu"), found)
    yield from found
    if limit is not None and limit < 0:
        yield invalid(limits, f"{limits} must be greater than or equal to 0")
        limit = None
    if request is not None and request < 0:
        yield invalid(requests, f"{requests} must be greater than or equal to 0")
    elif request is not None and limit is not None and request > limit:
        yield invalid(requests, f"{requests} is greater than {limits}")


def _cpu(path: str, cpu: v1.CPU, architecture: str) -> Causes:
    counts = {"cores": cpu.cores, "sockets": cpu.sockets, "threads": cpu.threads, "maxSockets": cpu.max_sockets}
    negative = [name for name, count in counts.items() if count < 0]
    for name in negative:
        yield invalid(f"{path}.{name}", f"{path}.{name} must not be negative: {counts[name]}")
    vcpus = (cpu.cores or 1) * (cpu.sockets or 1) * (cpu.threads or 1)
    if not negative and vcpus > MAX_VCPUS:
        largest = max(("sockets", "cores", "threads"), key=lambda name: counts[name])
        yield invalid(f"{path}.{largest}", f"{path} asks for {vcpus} vCPUs, at most {MAX_VCPUS} are possible")
    if cpu.max_sockets > 0 and cpu.sockets > cpu.max_sockets:
        yield invalid(f"{path}.sockets", f"Number of sockets in CPU topology ({cpu.sockets}) is greater than the "
                                         f"maximum sockets allowed ({cpu.max_sockets})")
    if architecture == "arm64" and cpu.threads > 1:
        yield invalid(f"{path}.threads", "threads must not be greater than 1 at architecture arm64")
    for index, feature in enumerate(cpu.features):
        field = f"{path}.features[{index}]"
        if not feature.name:
            yield required(f"{field}.name", f"{field}.name must not be empty")
        if feature.policy and feature.policy not in _FEATURE_POLICIES:
            yield not_supported(f"{field}.policy", f"CPU feature {feature.name} uses policy {feature.policy!r} that is "
                                                   f"not supported, use one of {', '.join(_FEATURE_POLICIES)}")


def _platform(path: str, spec: v1.VirtualMachineInstanceSpec, config: ClusterConfig) -> Causes:
    if spec.architecture and spec.architecture not in ARCHITECTURES:
        yield not_supported(f"{path}.architecture", f"unsupported architecture: {spec.architecture}")
        return
    machine = spec.domain.machine.type if spec.domain.machine else ""
    architecture = config.architecture(spec.architecture)
    if machine and not architecture.allows_machine(machine):
        globs = ", ".join(architecture.emulated_machines)
        yield not_supported(f"{path}.domain.machine.type",
                            f"{path}.domain.machine.type is not supported: {machine} (allowed values: {globs})")
