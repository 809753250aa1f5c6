"""Where a launcher has to be so that its hot-plugged claims can be mounted beside it.

Its own pod does not have them, so the scheduler would put it on any node; a volume of one node can be mounted there
only. A claim that is not bound yet comes to wherever the launcher is.
"""

from collections.abc import Mapping
from itertools import product

from msgspec.structs import replace

from virt.api import codec, core, hotplug, v1
from virt.api.kinds import PERSISTENT_VOLUME
from virt.kube.client import Client, NotFoundError


async def selectors(
    client: Client, vmi: v1.VirtualMachineInstance, claims: Mapping[str, core.PersistentVolumeClaim]
) -> tuple[core.NodeSelector, ...]:
    """Of the volumes behind the bound ones. ``claims``: those that are there, by name."""
    found = []
    for name in hotplug.claims(vmi.spec).values():
        claim = claims.get(name)
        if claim is None or not claim.spec.volume_name:
            continue
        try:
            volume = await client.get(PERSISTENT_VOLUME, claim.spec.volume_name)
        except NotFoundError:
            continue                        # the claim is lost, which its attachment pod will say
        required = ((volume.get("spec") or {}).get("nodeAffinity") or {}).get("required")
        if required:
            found.append(codec.from_json(required, core.NodeSelector))
    return tuple(found)


def within(pod: core.Pod, wanted: tuple[core.NodeSelector, ...]) -> core.Pod:
    """``pod`` on nodes that each of these selects, and that it selects itself. Pure."""
    if not wanted:
        return pod
    affinity = pod.spec.affinity or core.Affinity()
    nodes = affinity.node_affinity or core.NodeAffinity()
    given = nodes.required_during_scheduling_ignored_during_execution
    choices = [selector.node_selector_terms for selector in (*((given,) if given is not None else ()), *wanted)]
    # Terms are joined by "or", and all selectors have to hold.
    selector = core.NodeSelector(node_selector_terms=tuple(_both(terms) for terms in product(*choices)))
    nodes = replace(nodes, required_during_scheduling_ignored_during_execution=selector)
    return replace(pod, spec=replace(pod.spec, affinity=replace(affinity, node_affinity=nodes)))


def _both(terms: tuple[core.NodeSelectorTerm, ...]) -> core.NodeSelectorTerm:
    return core.NodeSelectorTerm(
        match_expressions=tuple(each for term in terms for each in term.match_expressions),
        match_fields=tuple(each for term in terms for each in term.match_fields))
