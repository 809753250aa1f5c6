"""What admission fills in, as pure functions: object and cluster configuration -> object.

Every function may be applied twice with no further effect, and none fails on odd input: what does not parse stays as
it is, and validation refuses it. KubeVirt: pkg/defaults, pkg/virt-api/webhooks/mutating-webhook/mutators.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from virt.api import names, quantity, resize, v1
from virt.api.clusterconfig import LIVE_UPDATE, ClusterConfig
from virt.api.wire import Quantity

HOST_MODEL = "host-model"
DEFAULT_NETWORK = "default"
_DEFAULT_CPU_REQUEST_M = quantity.milli(ClusterConfig.cpu_request)


def virtual_machine(vm: v1.VirtualMachine, config: ClusterConfig, *, uuid: str, serial: str) -> v1.VirtualMachine:
    """A VM as stored: architecture, machine type and PCI topology of its template; firmware identity where empty.

    ``uuid`` and ``serial`` are fresh random values; pass "" on updates, which never change the identity.
    """
    template = vm.spec.template
    if template is None:
        return vm
    spec = _platform(template.spec, config)
    firmware = spec.domain.firmware or v1.Firmware()
    identified = replace(firmware, uuid=firmware.uuid or uuid, serial=firmware.serial or serial)
    if identified != firmware:
        spec = replace(spec, domain=replace(spec.domain, firmware=identified))
    metadata = template.metadata
    if _has_pcie(spec) and names.PCI_TOPOLOGY_ANNOTATION not in metadata.annotations:
        metadata = replace(metadata, annotations={**metadata.annotations, names.PCI_TOPOLOGY_ANNOTATION: "v3"})
    return replace(vm, spec=replace(vm.spec, template=replace(template, metadata=metadata, spec=spec)))


def instance(
    vmi: v1.VirtualMachineInstance, config: ClusterConfig, *, now: str, uuid: str
) -> v1.VirtualMachineInstance:
    """A new VMI as stored. Whatever status came along is dropped: only our components may say how a VMI is doing.

    ``now``: RFC 3339 time; ``uuid``: a fresh random one, used when the firmware has none.
    """
    spec = _with_ceilings(instance_spec(vmi.spec, config), config)
    firmware = spec.domain.firmware or v1.Firmware()
    if not firmware.uuid:
        spec = replace(spec, domain=replace(spec.domain, firmware=replace(firmware, uuid=uuid)))
    cpu = spec.domain.cpu or v1.CPU()
    memory = None
    if spec.domain.memory is not None and spec.domain.memory.guest is not None:
        guest = spec.domain.memory.guest
        memory = v1.MemoryStatus(guest_at_boot=guest, guest_current=guest, guest_requested=guest)
    status = v1.VirtualMachineInstanceStatus(
        phase="Pending",
        phase_transition_timestamps=(v1.PhaseTransitionTimestamp(phase="Pending", phase_transition_timestamp=now),),
        runtime_user=names.KUBEVIRT_USER,
        current_cpu_topology=v1.CPUTopology(cores=cpu.cores, sockets=cpu.sockets, threads=cpu.threads),
        memory=memory,
    )
    finalizers = vmi.metadata.finalizers
    if names.VMI_FINALIZER not in finalizers:
        finalizers = (*finalizers, names.VMI_FINALIZER)
    return replace(vmi, metadata=replace(vmi.metadata, finalizers=finalizers), spec=spec, status=status)


def instance_update(old: v1.VirtualMachineInstance, new: v1.VirtualMachineInstance) -> v1.VirtualMachineInstance:
    """A VMI that others than our components have updated, as stored: its status, which has no subresource, stays."""
    return replace(new, status=old.status)


def migration(migration: v1.VirtualMachineInstanceMigration) -> v1.VirtualMachineInstanceMigration:
    """A new migration as stored: findable by its VMI, and kept until the controller has cleaned up."""
    metadata = migration.metadata
    if names.MIGRATION_FINALIZER not in metadata.finalizers:
        metadata = replace(metadata, finalizers=(*metadata.finalizers, names.MIGRATION_FINALIZER))
    labels = {**metadata.labels, names.MIGRATION_VMI_LABEL: migration.spec.vmi_name}
    return replace(migration, metadata=replace(metadata, labels=labels))


def instance_spec(spec: v1.VirtualMachineInstanceSpec, config: ClusterConfig) -> v1.VirtualMachineInstanceSpec:
    """All defaults of a VMI's spec but the random ones. Existing list entries keep their places."""
    spec = _with_pod_network(_platform(spec, config), config)
    domain = spec.domain
    resources = _resources(domain.resources, config)
    features = domain.features or v1.Features()
    acpi = features.acpi or v1.FeatureState()
    domain = replace(
        domain,
        # From what was asked for, not from the cluster's default request.
        cpu=_cpu(domain.cpu or v1.CPU(), domain.resources, config),
        resources=resources,
        memory=_memory(domain.memory, resources),
        features=replace(features, acpi=replace(acpi, enabled=acpi.enabled is not False)),
        firmware=domain.firmware and _firmware(domain.firmware),
        clock=domain.clock and _clock(domain.clock),
        devices=_devices(domain.devices, spec),
    )
    return replace(
        spec,
        domain=domain,
        volumes=tuple(_volume(volume) for volume in spec.volumes),
        eviction_strategy=spec.eviction_strategy or config.eviction_strategy,
        liveness_probe=spec.liveness_probe and _probe(spec.liveness_probe),
        readiness_probe=spec.readiness_probe and _probe(spec.readiness_probe),
    )


def pull_policy(image: str) -> str:
    """Always for an image that may change under its name (no tag, no digest, or :latest), else IfNotPresent."""
    name, _, digest = image.partition("@")
    _, _, tag = name.rpartition("/")[2].partition(":")
    return "Always" if not digest and tag in ("", "latest") else "IfNotPresent"


def _platform(spec: v1.VirtualMachineInstanceSpec, config: ClusterConfig) -> v1.VirtualMachineInstanceSpec:
    architecture = spec.architecture or config.default_architecture
    machine = spec.domain.machine
    if machine is None or not machine.type:
        machine = v1.Machine(type=config.architecture(architecture).machine_type)
    return replace(spec, architecture=architecture, domain=replace(spec.domain, machine=machine))


def _has_pcie(spec: v1.VirtualMachineInstanceSpec) -> bool:
    machine = spec.domain.machine.type if spec.domain.machine else ""
    return machine.startswith("virt") or "q35" in machine


def _is_positive(value: Quantity | None) -> bool:
    try:
        return value is not None and quantity.parse(value) > 0
    except quantity.QuantityError:
        return False


def _resources(resources: v1.ResourceRequirements, config: ClusterConfig) -> v1.ResourceRequirements:
    requests: Mapping[str, Quantity] = {
        **{name: resources.limits[name] for name in ("cpu", "memory")
           if name not in resources.requests and _is_positive(resources.limits.get(name))},
        **resources.requests,
    }
    # The ordinary default is worked out per vCPU by the controller; only another one is written into the VMI.
    wanted = config.cpu_request
    if "cpu" not in requests and _is_positive(wanted) and quantity.milli(wanted) != _DEFAULT_CPU_REQUEST_M:
        requests = {**requests, "cpu": wanted}
    return resources if requests == resources.requests else replace(resources, requests=requests)


def _cpu(cpu: v1.CPU, asked: v1.ResourceRequirements, config: ClusterConfig) -> v1.CPU:
    sockets = cpu.sockets
    if not (cpu.sockets or cpu.cores or cpu.threads):
        count = next((asked_cpu for asked_cpu in (asked.limits.get("cpu"), asked.requests.get("cpu"))
                      if _is_positive(asked_cpu)), 1)
        sockets = quantity.integer(count or 1)
    return replace(
        cpu, sockets=sockets or 1, cores=cpu.cores or 1, threads=cpu.threads or 1,
        model=cpu.model or config.cpu_model or HOST_MODEL,
    )


def _memory(memory: v1.Memory | None, resources: v1.ResourceRequirements) -> v1.Memory | None:
    if memory is not None and memory.guest is not None:
        return memory
    page_size = memory.hugepages.page_size if memory and memory.hugepages else None
    for guest in (resources.requests.get("memory"), resources.limits.get("memory"), page_size):
        if _is_positive(guest):
            return replace(memory or v1.Memory(), guest=guest)
    return memory


def _with_ceilings(spec: v1.VirtualMachineInstanceSpec, config: ClusterConfig) -> v1.VirtualMachineInstanceSpec:
    """How many sockets a guest may come to have while it runs, which its start has to know. KubeVirt: pkg/defaults.

    Memory has no ceiling so far (virt.api.unbuilt): a guest that was given some did not survive its next move."""
    cpu = spec.domain.cpu or v1.CPU()
    if config.rollout_strategy != LIVE_UPDATE or spec.architecture != "amd64":
        return spec
    if cpu.max_sockets == 0 and cpu.sockets > 0 and cpu.cores > 0 and cpu.threads > 0:
        most = config.max_cpu_sockets or cpu.sockets * config.max_hotplug_ratio
        most = min(most, resize.MAX_VCPUS // (cpu.cores * cpu.threads))
        cpu = replace(cpu, max_sockets=max(most, cpu.sockets))
    return replace(spec, domain=replace(spec.domain, cpu=cpu))


def _firmware(firmware: v1.Firmware) -> v1.Firmware:
    boot = firmware.kernel_boot
    container = boot.container if boot else None
    if boot is None or container is None or container.image_pull_policy or not container.image:
        return firmware
    container = replace(container, image_pull_policy=pull_policy(container.image))
    return replace(firmware, kernel_boot=replace(boot, container=container))


def _clock(clock: v1.Clock) -> v1.Clock:
    timers = clock.timer
    if timers is None:
        return clock

    def present(timer: v1.ClockTimer | None) -> v1.ClockTimer | None:
        return replace(timer, present=True) if timer is not None and timer.present is None else timer

    return replace(clock, timer=v1.Timer(
        hpet=present(timers.hpet), pit=present(timers.pit), rtc=present(timers.rtc), kvm=present(timers.kvm),
        hyperv=present(timers.hyperv),
    ))


def _with_pod_network(spec: v1.VirtualMachineInstanceSpec, config: ClusterConfig) -> v1.VirtualMachineInstanceSpec:
    devices = spec.domain.devices
    if devices.autoattach_pod_interface is False or devices.interfaces or spec.networks:
        return spec
    interface = v1.Interface(name=DEFAULT_NETWORK, bridge=v1.InterfaceBridge())
    if config.default_network_interface == "masquerade":
        interface = v1.Interface(name=DEFAULT_NETWORK, masquerade=v1.InterfaceMasquerade())
    devices = replace(devices, interfaces=(interface,))
    networks = (v1.Network(name=DEFAULT_NETWORK, pod=v1.PodNetwork()),)
    return replace(spec, networks=networks, domain=replace(spec.domain, devices=devices))


def _devices(devices: v1.Devices, spec: v1.VirtualMachineInstanceSpec) -> v1.Devices:
    attached = {disk.name for disk in devices.disks} | {filesystem.name for filesystem in devices.filesystems}
    missing = dict.fromkeys(volume.name for volume in spec.volumes
                            if volume.name not in attached and volume.memory_dump is None)
    disks = (*devices.disks, *(v1.Disk(name=name) for name in missing))
    inputs = devices.inputs
    if devices.autoattach_input_device and not inputs:
        inputs = (v1.Input(name="default-0"),)
    return replace(
        devices,
        disks=tuple(_disk(disk, spec.architecture) for disk in disks),
        inputs=tuple(replace(entry, bus=entry.bus or "usb", type=entry.type or "tablet") for entry in inputs),
        watchdog=devices.watchdog and _watchdog(devices.watchdog),
    )


def _watchdog(watchdog: v1.Watchdog) -> v1.Watchdog:
    device = watchdog.i6300esb
    if device is None or device.action:
        return watchdog
    return replace(watchdog, i6300esb=replace(device, action="reset"))


def _disk(disk: v1.Disk, architecture: str) -> v1.Disk:
    bus = "sata" if architecture == "amd64" else "virtio"
    if disk.disk is None and disk.lun is None and disk.cdrom is None:
        disk = replace(disk, disk=v1.DiskTarget())
    if disk.disk is not None:
        disk = replace(disk, disk=replace(disk.disk, bus=disk.disk.bus or bus))
    if disk.lun is not None:
        disk = replace(disk, lun=replace(disk.lun, bus=disk.lun.bus or bus))
    if disk.cdrom is not None:
        disk = replace(disk, cdrom=replace(
            disk.cdrom,
            bus=disk.cdrom.bus or ("sata" if bus == "sata" else "scsi"),      # a CD-ROM on virtio does not exist
            readonly=disk.cdrom.readonly is not False,
            tray=disk.cdrom.tray or "closed",
        ))
    return disk


def _volume(volume: v1.Volume) -> v1.Volume:
    disk = volume.container_disk
    if disk is None or disk.image_pull_policy or not disk.image:
        return volume
    return replace(volume, container_disk=replace(disk, image_pull_policy=pull_policy(disk.image)))


def _probe(probe: v1.Probe) -> v1.Probe:
    return replace(
        probe,
        timeout_seconds=probe.timeout_seconds or 1,
        period_seconds=probe.period_seconds or 10,
        success_threshold=probe.success_threshold or 1,
        failure_threshold=probe.failure_threshold or 3,
    )
