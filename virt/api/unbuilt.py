"""The one table of what the API knows and this release does not do yet.

Validation refuses every object that sets such a field, so that nothing is silently ignored. Whoever builds a feature
removes its row; ``python -m virt.api.unbuilt`` writes docs/unsupported-fields.md again, and a test keeps it fresh.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from virt.api import codec, v1, walk
from virt.api.status import NOT_SUPPORTED, StatusCause

DOCUMENT = Path("docs/unsupported-fields.md")


@dataclass(frozen=True)
class Unbuilt:
    """``path`` below the spec, ``[]`` for every entry of a list. ``values``: only these are refused; () means all."""

    path: str
    tier: str
    topic: str
    values: tuple[object, ...] = ()


_INSTANCE_FIELDS: tuple[Unbuilt, ...] = tuple(
    Unbuilt(path, tier, topic)
    for tier, topic, paths in (
        ("T2", "access credentials", "accessCredentials[]"),
        ("T2", "memory hotplug", "domain.memory.maxGuest"),
        ("T2", "hugepages", "domain.memory.hugepages"),
        ("T2", "TPM", "domain.devices.tpm"),
        ("T2", "UEFI variables that outlive the VMI", "domain.firmware.bootloader.efi.persistent"),
        ("T3", "watchdog of s390x", "domain.devices.watchdog.diag288"),
        ("T2", "a secondary network in the place of the pod network", "networks[].multus.default"),
        ("T2", "DataVolumes", "volumes[].dataVolume"),
        ("T2", "host disks", "volumes[].hostDisk"),
        ("T3", "dynamic resource allocation", "resourceClaims[] networks[].resourceClaim"),
        ("T3", "utility volumes", "utilityVolumes[]"),
        ("T3", "dedicated CPUs",
         "domain.cpu.dedicatedCpuPlacement domain.cpu.isolateEmulatorThread domain.cpu.numa domain.cpu.realtime"),
        ("T3", "reserved overhead", "domain.memory.reservedOverhead"),
        ("T3", "ACPI tables", "domain.firmware.acpi"),
        ("T3", "Hyper-V features", "domain.features.hyperv domain.features.hypervPassthrough"),
        ("T3", "I/O threads", "domain.ioThreadsPolicy domain.ioThreads domain.devices.disks[].dedicatedIOThread"),
        ("T3", "confidential guests", "domain.launchSecurity"),
        ("T3", "reboot policy", "domain.rebootPolicy"),
        ("T3", "VSOCK", "domain.devices.autoattachVSOCK"),
        ("T3", "legacy virtio devices", "domain.devices.useVirtioTransitional"),
        ("T3", "hotplug switch", "domain.devices.disableHotplug"),
        ("T3", "mediated devices", "domain.devices.gpus[].virtualGPUOptions"),
        ("T3", "shared file systems", "domain.devices.filesystems[]"),
        ("T3", "USB redirection", "domain.devices.clientPassthrough"),
        ("T3", "downward metrics", "domain.devices.downwardMetrics volumes[].downwardMetrics"),
        ("T3", "sound and video devices", "domain.devices.sound domain.devices.video"),
        ("T3", "LUN pass-through", "domain.devices.disks[].lun"),
        ("T3", "ACPI index of interfaces", "domain.devices.interfaces[].acpiIndex"),
        ("T3", "disk block sizes", "domain.devices.disks[].blockSize"),
        ("T3", "network binding plugins",
         "domain.devices.interfaces[].passtBinding domain.devices.interfaces[].binding"),
        ("T3", "port ranges", "domain.devices.interfaces[].portRanges[]"),
        ("T3", "Windows answer files", "volumes[].sysprep"),
        ("T3", "memory dumps", "volumes[].memoryDump"),
        ("T3", "container paths", "volumes[].containerPath"),
    )
    for path in paths.split()
)

INSTANCE_SPEC: tuple[Unbuilt, ...] = (
    *_INSTANCE_FIELDS,
    Unbuilt("domain.devices.interfaces[].state", "T2", "interface hotplug", values=("absent",)),
    Unbuilt("domain.devices.panicDevices[].model", "T3", "Hyper-V features", values=("hyperv",)),
)

MACHINE_SPEC: tuple[Unbuilt, ...] = (
    Unbuilt("dataVolumeTemplates[]", "T2", "DataVolumes"),
    Unbuilt("instancetype", "T2", "instance types"),
    Unbuilt("preference", "T2", "preferences"),
)

MIGRATION_SPEC: tuple[Unbuilt, ...] = (
    Unbuilt("sendTo", "T3", "migration between clusters"),
    Unbuilt("receive", "T3", "migration between clusters"),
)

# Has no effect in the CR, which is warned about and not refused: existing manifests shall install.
KUBEVIRT_SPEC: tuple[Unbuilt, ...] = tuple(
    Unbuilt(path, tier, topic)
    for tier, topic, paths in (
        ("T3", "flags of components", "customizeComponents.flags"),
        ("T3", "monitoring", "monitorNamespace monitorAccount serviceMonitorNamespace"),
        ("T3", "migration between clusters", "synchronizationPort"),
        ("T2", "room that a claim's disk may lack, and keeps free", "configuration.developerConfiguration."
         "pvcTolerateLessSpaceUpToPercent configuration.developerConfiguration.minimumReservePVCBytes"),
        ("T2", "log levels", "configuration.developerConfiguration.logVerbosity"),
        ("T3", "limits of image inspection", "configuration.developerConfiguration.diskVerification"),
        ("T3", "TSC frequencies", "configuration.developerConfiguration.minimumClusterTSCFrequency"),
        ("T3", "profiler", "configuration.developerConfiguration.clusterProfiler"),
        ("T2", "memory hotplug", "configuration.liveUpdateConfiguration.maxGuest"),
        ("T2", "rates of requests", "configuration.apiConfiguration configuration.webhookConfiguration "
         "configuration.controllerConfiguration configuration.handlerConfiguration"),
        ("T3", "network binding plugins", "configuration.network.binding"),
        ("T3", "paths of UEFI firmware",
         " ".join(f"configuration.architectureConfiguration.{name}.ovmfPath" for name in ("amd64", "arm64", "s390x"))),
        ("T3", "TLS settings", "configuration.tlsConfiguration"),
        ("T3", "obsolete CPU models", "configuration.obsoleteCPUModels"),
        ("T3", "instance types", "configuration.instancetype configuration.commonInstancetypesDeployment"),
        ("T3", "confidential guests", "configuration.confidentialCompute"),
        ("T3", "state of TPM and UEFI", "configuration.vmStateStorageClass"),
        ("T3", "changed block tracking", "configuration.changedBlockTrackingLabelSelectors"),
        ("T3", "choice of hypervisor", "configuration.hypervisors[]"),
        ("T3", "KSM", "configuration.ksmConfiguration"),
        ("T3", "own seccomp profiles", "configuration.seccompConfiguration"),
        ("T3", "runtime class, SELinux type, devices of a node", "configuration.defaultRuntimeClass "
         "configuration.selinuxLauncherType configuration.virtualMachineInstancesPerNode"),
        ("T3", "automatic CPU limits", "configuration.autoCPULimitNamespaceLabelSelector"),
        ("T3", "templates", "configuration.virtTemplateDeployment"),
    )
    for path in paths.split()
)

_REFUSED_BY_RULES = {f"domain.devices.interfaces[].{name}" for name in ("slirp", "macvtap", "passt")}

_TABLES = (
    ("VirtualMachineInstance, and `spec.template` of a VirtualMachine", INSTANCE_SPEC),
    ("VirtualMachine", MACHINE_SPEC),
    ("VirtualMachineInstanceMigration", MIGRATION_SPEC),
    ("KubeVirt (answered with a warning)", KUBEVIRT_SPEC),
)


def instance_spec(path: str, spec: v1.VirtualMachineInstanceSpec) -> Iterator[StatusCause]:
    """``path`` is that of the VMI's spec."""
    return _refusals(path, spec, INSTANCE_SPEC)


def machine_spec(path: str, spec: v1.VirtualMachineSpec) -> Iterator[StatusCause]:
    """The VM's own fields, without those of its template."""
    return _refusals(path, spec, MACHINE_SPEC)


def migration_spec(path: str, spec: v1.VirtualMachineInstanceMigrationSpec) -> Iterator[StatusCause]:
    return _refusals(path, spec, MIGRATION_SPEC)


def kubevirt_spec(path: str, spec: v1.KubeVirtSpec) -> Iterator[StatusCause]:
    """Texts for warnings."""
    return _refusals(path, spec, KUBEVIRT_SPEC)


def built_fields() -> tuple[str, ...]:
    """Fields of a VMI's spec that this release acts on: everything but the rows of the table."""
    refused = {row.path.removesuffix("[]") for row in INSTANCE_SPEC if not row.values} | _REFUSED_BY_RULES

    def is_refused(path: str) -> bool:
        return any(path == start or path.startswith((f"{start}.", f"{start}[")) for start in refused)

    paths = [path.partition(".")[0] if path.startswith("affinity.") else path
             for path in walk.paths(v1.VirtualMachineInstanceSpec)]
    return tuple(dict.fromkeys(path for path in paths if not is_refused(path)))


def document() -> str:
    """The table as Markdown."""
    lines = [
        "# Supported and unsupported fields",
        "",
        "Written by `python -m virt.api.unbuilt`. The API schemas hold these fields; an object that sets one is",
        "refused (422) with the field's path. Tiers: T1 first, then T2, then T3. Paths start at `spec`.",
    ]
    for title, rows in _TABLES:
        lines += ["", f"## {title}", "", "| field | feature | tier |", "| --- | --- | --- |"]
        lines += [f"| `{row.path}`{_only(row)} | {row.topic} | {row.tier} |" for row in sorted(rows, key=_order)]
    lines += ["", "## What a VirtualMachineInstance may set", "", *(f"- `{path}`" for path in built_fields())]
    return "\n".join(lines) + "\n"


def _refusals(path: str, spec: object, rows: tuple[Unbuilt, ...]) -> Iterator[StatusCause]:
    for row in rows:
        for place, value in walk.select(spec, row.path, path):
            # Off and empty are what everybody gets who does not set it.
            if (value in row.values) if row.values else (value not in (False, "", 0, (), {})):
                what = f"{place} {value!r}" if row.values else place
                message = f"{what} is not supported yet ({row.topic})"
                yield StatusCause(reason=NOT_SUPPORTED, field=place, message=message)


def _only(row: Unbuilt) -> str:
    return f" with value {' or '.join(codec.encode(value).decode() for value in row.values)}" if row.values else ""


def _order(row: Unbuilt) -> tuple[str, str, str]:
    return row.tier, row.topic, row.path


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
