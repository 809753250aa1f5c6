"""The attachment pod: mounts hot-plugged claims on the node of a launcher, and does nothing else. Pure.

The node's handler takes the claims' folders out of it, so it is whole when its container runs. It belongs to the
launcher's pod and goes with it. KubeVirt: RenderHotplugAttachmentPodTemplate in pkg/virt-controller/services.
"""

import hashlib
from collections.abc import Collection, Mapping
from typing import Final

from virt.api import core, names, v1
from virt.api.clusterconfig import ClusterConfig
from virt.api.kinds import POD
from virt.controller import owners
from virt.controller.vmi.pod import resources, sidecars, volumes

CONTAINER: Final = "hotplug-disk"
_DIGITS: Final = 12
_GRACE_S: Final = 1
_COMMAND: Final = (names.LAUNCHER_INIT_HELPER, "sleep", "infinity")


def attachment_name(launcher: core.Pod, claims: Mapping[str, str]) -> str:
    """The same for the same claims of the same launcher: a controller that has lost its lease makes no second one."""
    words = [launcher.metadata.uid, *(f"{volume}={claim}" for volume, claim in sorted(claims.items()))]
    return names.ATTACHMENT_PREFIX + hashlib.sha256("\n".join(words).encode()).hexdigest()[:_DIGITS]


def attachment_pod(
    vmi: v1.VirtualMachineInstance, launcher: core.Pod, claims: Mapping[str, str], config: ClusterConfig,
    *, image: str, limited: Collection[str] = (),
) -> core.Pod:
    """``claims``: volume -> claim; ``image``: the launcher's, which every node has; ``limited``: as in
    :func:`virt.controller.vmi.pod.resources.compute`."""
    read_only = {volume.name for volume in vmi.spec.volumes
                 if volume.persistent_volume_claim is not None and volume.persistent_volume_claim.read_only}
    migration = launcher.metadata.annotations.get(names.MIGRATION_JOB_NAME_ANNOTATION)
    return core.Pod(
        metadata=core.ObjectMeta(
            name=attachment_name(launcher, claims),
            namespace=vmi.metadata.namespace,
            labels={names.APP_LABEL: names.HOTPLUG_DISK},
            annotations={
                names.DOMAIN_ANNOTATION: vmi.metadata.name,
                **({names.MIGRATION_JOB_NAME_ANNOTATION: migration} if migration else {}),
            },
            owner_references=(owners.reference(POD, launcher.metadata),),
        ),
        spec=core.PodSpec(
            containers=(core.Container(
                name=CONTAINER,
                image=image,
                image_pull_policy=config.image_pull_policy,
                command=_COMMAND,
                resources=resources.sidecar(CONTAINER, config, limited=limited),
                volume_mounts=tuple(
                    core.VolumeMount(
                        name=volumes.pod_volume(volume), mount_path=f"/{names.ATTACHMENT_DIR}/{volume}",
                        read_only=volume in read_only)
                    for volume in sorted(claims)),
                security_context=sidecars.confined(read_only_root=True),
            ),),
            volumes=tuple(
                core.Volume(
                    name=volumes.pod_volume(volume),
                    persistent_volume_claim=core.PersistentVolumeClaimVolumeSource(
                        claim_name=claim, read_only=volume in read_only))
                for volume, claim in sorted(claims.items())),
            # The scheduler is to choose the one node that there is to choose: it binds claims that wait for a pod.
            affinity=_on(launcher.spec.node_name),
            tolerations=(core.Toleration(operator="Exists"),),      # where the launcher is, it has to be too
            priority_class_name=vmi.spec.priority_class_name,
            restart_policy="Never",
            termination_grace_period_seconds=_GRACE_S,
            automount_service_account_token=False,
            enable_service_links=False,
            image_pull_secrets=sidecars.pull_secrets(vmi.spec),
            security_context=core.PodSecurityContext(
                run_as_user=names.KUBEVIRT_USER,
                run_as_group=names.KUBEVIRT_USER,
                run_as_non_root=True,
                fs_group=names.KUBEVIRT_USER,
                fs_group_change_policy="OnRootMismatch",
                seccomp_profile=core.SeccompProfile(type="RuntimeDefault"),
            ),
        ),
    )


def is_attachment(pod: core.Pod) -> bool:
    return pod.metadata.labels.get(names.APP_LABEL) == names.HOTPLUG_DISK


def carries(pod: core.Pod, volume: str, claim: str) -> bool:
    return volumes.mounted(pod).get(volumes.pod_volume(volume)) == claim


def is_up(pod: core.Pod) -> bool:
    """Whether its claims are mounted, and will be for now."""
    runs = any(status.name == CONTAINER and status.state.running is not None
               for status in pod.status.container_statuses)
    return runs and pod.metadata.deletion_timestamp is None


def _on(node: str) -> core.Affinity:
    term = core.NodeSelectorTerm(match_fields=(
        core.NodeSelectorRequirement(key="metadata.name", operator="In", values=(node,)),))
    return core.Affinity(node_affinity=core.NodeAffinity(
        required_during_scheduling_ignored_during_execution=core.NodeSelector(node_selector_terms=(term,))))
