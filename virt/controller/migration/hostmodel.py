"""Which nodes can run a guest that has the CPU model of the node where it was started. Pure.

The node's labels say which model that is; what the target has to be able to do is written to its pod's node selector.
A guest that has moved once keeps what it had: the next target's selector is taken from the pod in which it runs.
KubeVirt: prepareNodeSelectorForHostCpuModel in pkg/virt-controller/watch/migration.
"""

from collections.abc import Iterable, Mapping

from virt.api import core, names, v1
from virt.api.defaults import HOST_MODEL

_OF_THE_CPU = (
    names.CPU_MODEL_MIGRATION_LABEL_PREFIX, names.CPU_FEATURE_LABEL_PREFIX, names.CPU_VENDOR_LABEL_PREFIX,
)


def has_host_model(vmi: v1.VirtualMachineInstance) -> bool:
    return vmi.spec.domain.cpu is not None and vmi.spec.domain.cpu.model == HOST_MODEL


def selector(vmi: v1.VirtualMachineInstance, source: core.Pod | None, node: core.Node | None) -> Mapping[str, str]:
    """What the target's node has to be labelled with; {} for other models, and where the node tells none. ``source``:
    the pod in which the guest runs, on ``node``."""
    if not has_host_model(vmi):
        return {}
    kept = {key: value for key, value in (source.spec.node_selector if source is not None else {}).items()
            if key.startswith(_OF_THE_CPU)}
    if any(key.startswith(names.CPU_MODEL_MIGRATION_LABEL_PREFIX) for key in kept):
        return kept
    labels = node.metadata.labels if node is not None else {}
    models = sorted(_rest(labels, names.HOST_MODEL_LABEL_PREFIX))
    if not models:
        return kept
    return {
        **kept,
        f"{names.CPU_MODEL_MIGRATION_LABEL_PREFIX}{models[0]}": "true",
        **{f"{names.CPU_FEATURE_LABEL_PREFIX}{feature}": "true"
           for feature in _rest(labels, names.HOST_MODEL_FEATURE_LABEL_PREFIX)},
        **{key: value for key, value in labels.items() if key.startswith(names.CPU_VENDOR_LABEL_PREFIX)},
    }


def nobody_fits(pod: core.Pod, nodes: Iterable[core.Node], here: str) -> str:
    """What the pod of a target asks of a CPU, as text, where no node but ``here`` has it all; "" where one has."""
    asked = {key: value for key, value in pod.spec.node_selector.items() if key.startswith(_OF_THE_CPU)}
    if any(asked.items() <= node.metadata.labels.items() for node in nodes if node.metadata.name != here):
        return ""
    return ", ".join(sorted(asked))


def _rest(labels: Iterable[str], prefix: str) -> list[str]:
    return [label.removeprefix(prefix) for label in labels if label.startswith(prefix)]
