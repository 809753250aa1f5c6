"""What a request to evict a launcher pod is answered: the pod, its VMI -> yes, or no with what happens instead. Pure.

kubectl drain repeats its request on 429 until the pod is gone; the descheduler reads the messages, so they are an
interface. KubeVirt: pkg/virt-api/webhooks/validating-webhook/admitters/pod-eviction-admitter.go.
"""

from dataclasses import dataclass

from virt.api import conditions, core, names, phases, v1

NONE, LIVE_MIGRATE, IF_POSSIBLE, EXTERNAL = "None", "LiveMigrate", "LiveMigrateIfPossible", "External"
DESCHEDULER = "descheduler"     # who asked: value of the annotation eviction-source


@dataclass(frozen=True)
class Verdict:
    """``refusal`` "" lets the pod go. ``marks``: the VMI is to be told that its node must be left."""

    refusal: str = ""
    marks: bool = False


ALLOWED = Verdict()


def is_launcher(pod: core.Pod) -> bool:
    return pod.metadata.labels.get(names.APP_LABEL) == names.LAUNCHER and bool(vmi_name(pod))


def is_attachment(pod: core.Pod) -> bool:
    """Whether it mounts hot-plugged claims for a guest."""
    return pod.metadata.labels.get(names.APP_LABEL) == names.HOTPLUG_DISK and bool(vmi_name(pod))


def vmi_name(pod: core.Pod) -> str:
    return pod.metadata.annotations.get(names.DOMAIN_ANNOTATION, "")


def is_drained(node: core.Node | None, taint: str) -> bool:
    """Whether guests are to leave the node. ``taint``: the key that says so."""
    return node is not None and any(each.key == taint and each.effect == "NoSchedule" for each in node.spec.taints)


def judge(pod: core.Pod, vmi: v1.VirtualMachineInstance | None, default: str) -> Verdict:
    """``default``: the strategy of VMIs that have none of their own."""
    if not is_launcher(pod) or pod.status.phase in phases.FINAL or pod.metadata.deletion_timestamp is not None:
        return ALLOWED
    if vmi is None or vmi.status.phase in phases.FINAL or not _is_of(pod, vmi):
        return ALLOWED
    strategy = vmi.spec.eviction_strategy or default or NONE
    migratable = conditions.is_true(vmi.status.conditions, "LiveMigratable")
    name = f'VMI "{vmi.metadata.namespace}/{vmi.metadata.name}"'
    if strategy == NONE or (strategy == IF_POSSIBLE and not migratable):
        return ALLOWED
    if strategy == LIVE_MIGRATE and not migratable:
        return Verdict(f"{name} is configured with an eviction strategy but is not live-migratable")
    if vmi.status.node_name and pod.spec.node_name != vmi.status.node_name:
        return Verdict(f"Eviction request for target Pod of {name}: the guest is on its way there")
    if vmi.status.evacuation_node_name:
        return Verdict(f"Evacuation in progress: {name} is to leave node {vmi.status.evacuation_node_name}")
    return Verdict(f"Eviction triggered evacuation of {name}", marks=True)


def judge_attachment(
    pod: core.Pod, launcher: core.Pod | None, vmi: v1.VirtualMachineInstance | None, default: str
) -> Verdict:
    """It goes when its guest does, and not before: who wants it away is answered as for the launcher ``launcher`` that
    owns it."""
    is_going = pod.status.phase in phases.FINAL or pod.metadata.deletion_timestamp is not None
    if launcher is None or vmi is None or is_going:
        return ALLOWED
    if launcher.status.phase in phases.FINAL or vmi.status.phase in phases.FINAL or not _is_of(launcher, vmi):
        return ALLOWED
    found = judge(launcher, vmi, default)
    name = f"cannot evict hotplug pod: {pod.metadata.name} has disks of VMI " \
           f'"{vmi.metadata.namespace}/{vmi.metadata.name}", which runs'
    return Verdict(f"{name}: {found.refusal}" if found.refusal else name, marks=found.marks)


def _is_of(pod: core.Pod, vmi: v1.VirtualMachineInstance) -> bool:
    return any(owner.controller and owner.uid == vmi.metadata.uid for owner in pod.metadata.owner_references)
