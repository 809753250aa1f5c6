"""VMI and cluster configuration -> launcher pod. Pure: the same input gives the same pod, name included.

What ``compute`` is told (docs/architecture.md, "Launcher pod"): VMI_NAME, VMI_NAMESPACE, VMI_UID, GRACE_PERIOD_S,
POD_NAME, POD_UID, and the XDG folders that libvirt's session mode uses.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from msgspec.structs import replace

from virt.api import core, names, v1
from virt.api.clusterconfig import ClusterConfig
from virt.api.ipaddresses import plain
from virt.api.kinds import VMI
from virt.controller import owners
from virt.controller.vmi import attachments
from virt.controller.vmi.pod import naming, placement, resources, sidecars, volumes

_BEYOND_GRACE_S: Final = 30       # the kubelet kills only after the handler has had its time
_STARTUP_DELAY_S: Final = 10      # until libvirt and the guest's firmware are through
_OF_ITS_PLACE = (names.NODE_NAME_LABEL, names.MIGRATION_TARGET_NODE_LABEL, names.OUTDATED_LABEL)
_HELPER_S: Final = 1              # the kubelet starts a process for each probe inside the guest
# Annotations of a VMI that its pod does not get: what would ask the node for more than the VMI's spec may.
_NOT_COPIED = (
    "kubectl.kubernetes.io/", "kubevirt.io/vm-generation", "k8s.v1.cni.cncf.io/", "v1.multus-cni.io/",
    "seccomp.security.alpha.kubernetes.io/", "container.", "io.kubernetes.cri",
)


@dataclass(frozen=True)
class Context:
    """What a pod is made from beside its VMI.

    ``claims``: the VMI's PVCs by name; ``node_labels``: the keys of all labels that nodes carry; ``limited``: "cpu" and
    "memory" where a quota of the namespace counts limits; ``functions``: the resources of the VMI's secondary networks,
    by the network's name.
    """

    config: ClusterConfig
    launcher_image: str
    claims: Mapping[str, core.PersistentVolumeClaim] = field(default_factory=dict)
    node_labels: Collection[str] = ()
    limited: Collection[str] = ()
    functions: Mapping[str, str] = field(default_factory=dict)


def launcher_pod(vmi: v1.VirtualMachineInstance, context: Context) -> core.Pod:
    return core.Pod(metadata=_metadata(vmi), spec=_spec(vmi, context))


def _metadata(vmi: v1.VirtualMachineInstance) -> core.ObjectMeta:
    copied = {key: value for key, value in vmi.metadata.annotations.items() if not key.startswith(_NOT_COPIED)}
    return core.ObjectMeta(
        name=naming.pod_name(vmi),
        namespace=vmi.metadata.namespace,
        labels={
            **{key: value for key, value in vmi.metadata.labels.items() if key not in _OF_ITS_PLACE},
            names.APP_LABEL: names.LAUNCHER,
            names.CREATED_BY_LABEL: vmi.metadata.uid,
            names.VM_NAME_LABEL: names.hostname(vmi.metadata.name, vmi.spec.hostname),
            names.VMI_ID_LABEL: naming.bounded(vmi.metadata.name),
        },
        annotations={
            **copied,
            **attachments.annotation(vmi),
            names.DOMAIN_ANNOTATION: vmi.metadata.name,
            names.DEFAULT_CONTAINER_ANNOTATION: names.COMPUTE_CONTAINER,
            names.MIGRATION_TRANSPORT_ANNOTATION: "true",
            names.EVICT_ONLY_ANNOTATION: "",
        },
        owner_references=(owners.reference(VMI, vmi.metadata),),
    )


def _spec(vmi: v1.VirtualMachineInstance, context: Context) -> core.PodSpec:
    spec, config = vmi.spec, context.config
    mounted = volumes.of(spec, context.claims)
    return core.PodSpec(
        containers=(
            _compute(vmi, context, mounted),
            *sidecars.of(vmi, config, context.launcher_image, limited=context.limited),
        ),
        volumes=tuple(entry.volume for entry in mounted),
        node_selector=placement.node_selector(spec, config, placement.labelled(context.node_labels)),
        affinity=placement.affinity(spec),
        tolerations=spec.tolerations,
        topology_spread_constraints=spec.topology_spread_constraints,
        scheduler_name=spec.scheduler_name,
        priority_class_name=spec.priority_class_name,
        restart_policy="Never",
        termination_grace_period_seconds=vmi.spec.grace_s + _BEYOND_GRACE_S,
        service_account_name=spec.service_account_name or volumes.service_account(spec),
        automount_service_account_token=False,
        image_pull_secrets=sidecars.pull_secrets(spec),
        enable_service_links=False,
        hostname=names.hostname(vmi.metadata.name, spec.hostname),
        subdomain=spec.subdomain,
        dns_policy=spec.dns_policy,
        dns_config=_dns_config(spec.dns_config),
        security_context=core.PodSecurityContext(
            run_as_user=names.KUBEVIRT_USER,
            run_as_group=names.KUBEVIRT_USER,
            run_as_non_root=True,
            fs_group=names.KUBEVIRT_USER,
            fs_group_change_policy="OnRootMismatch",
            seccomp_profile=core.SeccompProfile(type="RuntimeDefault"),
        ),
        readiness_gates=(core.PodReadinessGate(condition_type=names.UNPAUSED_READINESS_GATE),),
    )


def _dns_config(config: core.PodDNSConfig | None) -> core.PodDNSConfig | None:
    """Servers in their usual form: the guest's resolver would read leading zeros as octal."""
    return config and replace(config, nameservers=tuple(plain(server) for server in config.nameservers))


def _compute(
    vmi: v1.VirtualMachineInstance, context: Context, mounted: tuple[volumes.PodVolume, ...]
) -> core.Container:
    spec, config = vmi.spec, context.config
    return core.Container(
        name=names.COMPUTE_CONTAINER,
        image=context.launcher_image,
        image_pull_policy=config.image_pull_policy,
        command=(names.LAUNCHER_INIT_HELPER, "python3", "-m", "virt.cli.launcher"),
        env=_environment(vmi),
        resources=resources.compute(spec, config, limited=context.limited, functions=context.functions),
        volume_mounts=tuple(entry.mount for entry in mounted if entry.mount is not None),
        volume_devices=tuple(entry.device for entry in mounted if entry.device is not None),
        liveness_probe=_probe(spec.liveness_probe),
        readiness_probe=_probe(spec.readiness_probe),
        security_context=sidecars.confined(),
        termination_message_policy="FallbackToLogsOnError",
    )


def _environment(vmi: v1.VirtualMachineInstance) -> tuple[core.EnvVar, ...]:
    plain = {
        "VMI_NAME": vmi.metadata.name,
        "VMI_NAMESPACE": vmi.metadata.namespace,
        "VMI_UID": vmi.metadata.uid,
        "GRACE_PERIOD_S": str(vmi.spec.grace_s),
        "XDG_CACHE_HOME": names.PRIVATE_DIR,
        "XDG_CONFIG_HOME": names.PRIVATE_DIR,
        "XDG_RUNTIME_DIR": "/var/run",
    }
    if names.FAIL_FAST_ANNOTATION in vmi.metadata.annotations:
        plain[names.FAIL_FAST_VARIABLE] = "1"
    from_pod = {"POD_NAME": "metadata.name", "POD_UID": "metadata.uid"}
    return (
        *(core.EnvVar(name=name, value=value) for name, value in plain.items()),
        *(core.EnvVar(name=name, value_from=core.EnvVarSource(
            field_ref=core.ObjectFieldSelector(field_path=path))) for name, path in from_pod.items()),
    )


def _probe(probe: v1.Probe | None) -> core.Probe | None:
    """Over the network to the guest; those inside the guest by a helper in the container, which takes a moment more."""
    if probe is None:
        return None
    inside = _inside(probe)
    return core.Probe(
        exec=core.ExecAction(command=inside) if inside else None,
        http_get=probe.http_get,
        tcp_socket=probe.tcp_socket,
        initial_delay_seconds=probe.initial_delay_seconds + _STARTUP_DELAY_S,
        timeout_seconds=_timeout_s(probe) + _HELPER_S if inside else probe.timeout_seconds,
        period_seconds=probe.period_seconds,
        success_threshold=probe.success_threshold,
        failure_threshold=probe.failure_threshold,
    )


def _timeout_s(probe: v1.Probe) -> int:
    return probe.timeout_seconds or 1


def _inside(probe: v1.Probe) -> tuple[str, ...]:
    """The command for the guest's agent, () for a probe over the network."""
    helper = (names.PROBE_HELPER, "--socket", names.PROBE_SOCKET, "--timeoutSeconds", str(_timeout_s(probe)))
    if probe.guest_agent_ping is not None:
        return (*helper, "--guestAgentPing")
    if probe.exec is not None and probe.exec.command:
        program, *arguments = probe.exec.command
        return (*helper, "--command", program, "--", *arguments)
    return ()
