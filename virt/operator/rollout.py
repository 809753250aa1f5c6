"""In which order a target is rolled out, and what has to be ready before the next step. Pure."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from virt.api import core
from virt.api.kinds import Kind
from virt.operator import readiness, stamps
from virt.operator.resources import DEPLOYMENT, Json, Wanted
from virt.operator.strategy import Strategy


class Seen(Protocol):
    """What exists in the cluster."""

    def find(self, kind: Kind[Json], key: str) -> Json | None: ...

    @property
    def pods(self) -> Sequence[core.Pod]: ...


Gate = Callable[[Seen], str]
"""What a step still lacks before the next may begin, "" when nothing."""


@dataclass(frozen=True)
class Step:
    name: str
    objects: tuple[Wanted, ...]
    gate: Gate


def steps(strategy: Strategy, observed_version: str, version: str) -> tuple[Step, ...]:
    """``observed_version``: what ran completely before, "" at an installation.

    Node agents are updated first, because a new controller may ask of them what old ones cannot do; the API last,
    because it must not accept what the others do not know yet. Going back takes the order of an installation.
    """
    # First, so that certificates are made once and not again in every pass that waits for the definitions.
    secrets = Step("certificates", strategy.secrets, _nothing)
    definitions = Step("definitions", strategy.definitions, established(strategy.definitions))
    basis = Step("basis", strategy.basis, _nothing)
    ties = Step("ties", strategy.ties, _nothing)
    api = Step("virt-api", strategy.api, rolled_over(strategy.api[0]))
    controller = Step("virt-controller", strategy.controller, rolled_over(strategy.controller[0]))
    handler = Step("virt-handler", (strategy.handler,), rolled_over(strategy.handler))
    if not observed_version or is_older(version, observed_version):
        return secrets, definitions, basis, ties, api, _ungated(controller), handler
    return secrets, definitions, basis, ties, handler, controller, api


def components(strategy: Strategy) -> tuple[Wanted, ...]:
    """The workloads that have to be ready."""
    return strategy.api[0], strategy.controller[0], strategy.handler


def lacking(strategy: Strategy, seen: Seen) -> str:
    """Why not everything is ready; "" when all is."""
    gates = (established(strategy.definitions), *(rolled_over(workload) for workload in components(strategy)))
    return "; ".join(problem for gate in gates if (problem := gate(seen)))


def adjusted(wanted: Wanted, seen: Seen, strategy: Strategy) -> Wanted:
    """``wanted`` with what depends on the state of the cluster: the step width of the node agents' update.

    Raises FailedUpdateError when the first updated node agent does not stay up.
    """
    if wanted is not strategy.handler:
        return wanted
    existing = seen.find(wanted.kind, wanted.key)
    step = readiness.daemon_set_step(existing, stamps.template_stamp(wanted.document), seen.pods)
    spec = wanted.document["spec"]
    if spec["updateStrategy"]["rollingUpdate"] == step:
        return wanted
    update = {**spec["updateStrategy"], "rollingUpdate": dict(step)}
    return Wanted({**wanted.document, "spec": {**spec, "updateStrategy": update}})


def rolled_over(workload: Wanted) -> Gate:
    lacks = readiness.deployment_lacks if workload.kind is DEPLOYMENT else readiness.daemon_set_lacks
    stamp = stamps.template_stamp(workload.document)

    def gate(seen: Seen) -> str:
        return lacks(seen.find(workload.kind, workload.key), stamp, seen.pods)

    return gate


def established(definitions: Sequence[Wanted]) -> Gate:
    """Whether kube-apiserver serves the custom resources: a client that asks too early waits long before it retries."""

    def gate(seen: Seen) -> str:
        missing = [
            wanted.name for wanted in definitions if not _is_established(seen.find(wanted.kind, wanted.key))
        ]
        return f"not served yet: {', '.join(missing)}" if missing else ""

    return gate


def is_older(version: str, than: str) -> bool:
    """Compares the numbers of vMAJOR.MINOR.PATCH; what follows them (a build's hash) has no order.

    >>> is_older("v0.1.0-ff", "v0.2.0-aa"), is_older("v0.1.0-aa", "v0.1.0-ff"), is_older("latest", "v1.0.0")
    (True, False, False)
    """
    found = [re.match(r"v?(\d+)\.(\d+)\.(\d+)", text) for text in (version, than)]
    numbers = [tuple(int(part) for part in match.groups()) for match in found if match]
    return len(numbers) == 2 and numbers[0] < numbers[1]


def _ungated(step: Step) -> Step:
    return Step(step.name, step.objects, _nothing)


def _nothing(_: Seen) -> str:
    return ""


def _is_established(definition: Json | None) -> bool:
    found: Any = (definition or {}).get("status", {}).get("conditions") or ()
    return any(condition["type"] == "Established" and condition["status"] == "True" for condition in found)


