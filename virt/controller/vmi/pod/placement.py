"""Which nodes a launcher pod may run on. KubeVirt: pkg/virt-controller/services/nodeselectorrenderer.go."""

from collections.abc import Collection, Iterator, Mapping

from msgspec.structs import replace

from virt.api import core, names, v1
from virt.api.clusterconfig import ClusterConfig
from virt.api.defaults import HOST_MODEL

HOST_PASSTHROUGH = "host-passthrough"
_LABELLED = (names.CPU_MODEL_LABEL_PREFIX, names.CPU_FEATURE_LABEL_PREFIX, names.MACHINE_TYPE_LABEL_PREFIX)


def labelled(node_labels: Collection[str]) -> frozenset[str]:
    """The kinds of labels (prefixes) that some node carries. By what no node is labelled with, nothing is selected."""
    return frozenset(prefix for prefix in _LABELLED if any(label.startswith(prefix) for label in node_labels))


def node_selector(
    spec: v1.VirtualMachineInstanceSpec, config: ClusterConfig, kinds: Collection[str]
) -> Mapping[str, str]:
    """``kinds``: what :func:`labelled` found."""
    selector = {names.SCHEDULABLE_LABEL: "true"}
    if spec.architecture:
        selector["kubernetes.io/arch"] = spec.architecture
    selector |= {label: "true" for label in _capabilities(spec) if label.partition("/")[0] + "/" in kinds}
    return {**selector, **config.node_selectors, **spec.node_selector}


def affinity(spec: v1.VirtualMachineInstanceSpec) -> core.Affinity | None:
    """The VMI's own; no node that has a CPU feature the guest forbids; and for a guest with the host's CPU no node
    whose host model is outdated."""
    absent = [
        f"{names.CPU_FEATURE_LABEL_PREFIX}{feature.name}"
        for feature in (spec.domain.cpu.features if spec.domain.cpu else ()) if feature.policy == "forbid"
    ]
    if _model(spec) == HOST_MODEL:
        absent.append(names.OBSOLETE_HOST_MODEL_LABEL)
    if not absent:
        return spec.affinity
    return _with_requirements(
        spec.affinity or core.Affinity(),
        tuple(core.NodeSelectorRequirement(key=label, operator="DoesNotExist") for label in absent),
    )


def _with_requirements(
    given: core.Affinity, extra: tuple[core.NodeSelectorRequirement, ...]
) -> core.Affinity:
    """``extra`` in every alternative: the terms of a node selector are joined by "or"."""
    nodes = given.node_affinity or core.NodeAffinity()
    required = nodes.required_during_scheduling_ignored_during_execution
    terms = required.node_selector_terms if required is not None else (core.NodeSelectorTerm(),)
    changed = tuple(replace(term, match_expressions=(*term.match_expressions, *extra)) for term in terms)
    selector = core.NodeSelector(node_selector_terms=changed)
    return replace(given, node_affinity=replace(nodes, required_during_scheduling_ignored_during_execution=selector))


def _model(spec: v1.VirtualMachineInstanceSpec) -> str:
    return (spec.domain.cpu.model if spec.domain.cpu else "") or HOST_MODEL


def _capabilities(spec: v1.VirtualMachineInstanceSpec) -> Iterator[str]:
    model = _model(spec)
    if model not in (HOST_MODEL, HOST_PASSTHROUGH):
        yield f"{names.CPU_MODEL_LABEL_PREFIX}{model}"
    for feature in spec.domain.cpu.features if spec.domain.cpu else ():
        if feature.policy in ("", "require"):
            yield f"{names.CPU_FEATURE_LABEL_PREFIX}{feature.name}"
    if spec.domain.machine is not None and spec.domain.machine.type:
        yield f"{names.MACHINE_TYPE_LABEL_PREFIX}{spec.domain.machine.type}"
