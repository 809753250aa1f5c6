"""What gets past the operator's guard, and what is done to the nodes that its components run on."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from functests.libs import build, patience, placement, settings
from functests.libs.cluster import Cluster
from functests.libs.kube import Object, Space, condition
from functests.libs.rest import core_path, kubevirt_path
from functests.libs.stack import API, COMPONENTS, CONTROLLER, NAMESPACE, OPERATOR, Stack, is_ready
from functests.libs.witness import Witness

pytestmark = [pytest.mark.serial, pytest.mark.disruptive]

GUARD = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/virt-operator-validator"
TAINT = "CriticalAddonsOnly"


@contextmanager
def _standing_still(stack: Stack) -> Iterator[None]:
    """No operator does anything inside the block: neither the leader, nor one that would take its lease over."""
    operators = stack.pods(OPERATOR)
    try:
        for pod in operators:
            stack.signal(pod, "STOP")
        yield
    finally:
        for pod in operators:
            stack.signal(pod, "CONT")


@pytest.mark.case("OPR-012")
def test_a_second_installation_that_got_in_stays_idle(space: Space, cluster: Cluster, stack: Stack) -> None:
    """
    Preconditions: a running guest with a witness.
    Steps: while the operators stand still, take their webhooks away and create a second KubeVirt in the test's
        namespace; let them go on; delete the second.
    Expected: the second says Synchronized False, ExistingDeployment, and has no finalizer; the webhooks are back; when
        it is gone every component's pod is the same, and so are spec and conditions of the first; the guest goes on.
    """
    _, shell = space.boot(build.kernel_boot_vmi(cluster, "vm"))
    witness = Witness(shell)
    before = settings.kubevirt(stack.rest)
    pods = {pod["metadata"]["uid"] for component in COMPONENTS for pod in stack.pods(component)}
    path = kubevirt_path("kubevirts", space.name, "second")
    document = {"apiVersion": "kubevirt.io/v1", "kind": "KubeVirt", "metadata": {"name": "second"}, "spec": {}}
    try:
        with _standing_still(stack):
            stack.rest.delete(GUARD).ok()
            # kube-apiserver's own list of webhooks follows a moment later; till then it asks those that stand still.
            made = patience.eventually(
                "the second KubeVirt gets in",
                lambda: stack.rest.post(kubevirt_path("kubevirts", space.name) + "?timeout=2s", document),
                lambda answer: answer.code == 201,
                within_s=patience.promised(20),
            )
        assert "finalizers" not in made.body["metadata"], made.body["metadata"]
        second = patience.eventually(
            "the second says that there is one already",
            lambda: stack.rest.get(path).ok(),
            lambda seen: condition(seen, "Synchronized").get("reason") == "ExistingDeployment",
            within_s=patience.promised(60),
        )
        assert condition(second, "Synchronized")["status"] == "False"
        assert not second["metadata"].get("finalizers"), second["metadata"]
        patience.eventually(
            "the webhooks are back", lambda: stack.rest.get(GUARD).code, lambda code: code == 200,
            within_s=patience.promised(60),
        )
    finally:
        stack.rest.delete(path)
    patience.eventually(
        "the second is gone", lambda: stack.rest.get(path).code, lambda code: code == 404,
        within_s=patience.promised(30),
    )
    stack.wait_well()
    after = next(
        found for found in stack.rest.get(settings.KUBEVIRTS).ok()["items"]
        if found["metadata"]["uid"] == before["metadata"]["uid"]
    )  # fmt: skip
    assert after["spec"] == before["spec"]
    assert _conditions(after) == _conditions(before)
    assert {pod["metadata"]["uid"] for component in COMPONENTS for pod in stack.pods(component)} == pods
    witness.check()


def _conditions(found: Object) -> dict[str, tuple[str, str]]:
    return {entry["type"]: (entry["status"], entry.get("reason", "")) for entry in found["status"]["conditions"]}


@pytest.mark.needs("two-nodes")
@pytest.mark.demand(vcpus=0, memory_mib=400, boots=0, seconds=60)
@pytest.mark.case("OPR-024")
def test_components_stay_on_a_node_for_the_critical(stack: Stack) -> None:
    """
    Preconditions: virt-api and virt-controller run on the control plane, two replicas each.
    Steps: taint it CriticalAddonsOnly NoExecute for 10 s; then cordon it and evict all their pods as a drain would.
    Expected: no pod of theirs is driven away; the first of each is evicted, and the last ready one refused with 429 by
        its budget; uncordoned, both have two ready replicas again.
    """
    before = {component: stack.pods(component) for component in (API, CONTROLLER)}
    nodes = {pod["spec"]["nodeName"] for found in before.values() for pod in found}
    assert len(nodes) == 1, nodes
    (node,) = nodes
    uids = {component: [pod["metadata"]["uid"] for pod in found] for component, found in before.items()}
    with placement.tainted(stack.rest, node, TAINT, "NoExecute"):
        patience.quiet(
            "a component is driven away",
            lambda: {component: [pod["metadata"]["uid"] for pod in stack.pods(component)] for component in uids},
            lambda seen: seen != uids,
            for_s=10,
        )

    def evicted(pod: Object) -> int:
        name = pod["metadata"]["name"]
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": NAMESPACE}}
        return stack.rest.post(f"{core_path('pods', NAMESPACE, name)}/eviction", eviction).code

    with placement.cordoned(stack.rest, node):
        for component, pods in before.items():
            first, last = pods
            # A budget that counts the pods anew refuses for a moment.
            patience.eventually(
                f"{component}: one pod is evicted", lambda first=first: evicted(first),  # type: ignore[misc]
                lambda code: code == 201, within_s=patience.promised(20),
            )  # fmt: skip
            patience.eventually(
                f"{component}: one ready pod is left", lambda component=component: stack.pods(component),  # type: ignore[misc]
                lambda found: sum(is_ready(pod) for pod in found) == 1, within_s=patience.promised(60),
            )  # fmt: skip
            assert evicted(last) == 429
            assert "deletionTimestamp" not in stack.pod(last["metadata"]["name"])["metadata"]
    for component in before:
        patience.eventually(
            f"{component} has two ready pods",
            lambda component=component: sum(is_ready(pod) for pod in stack.pods(component)),  # type: ignore[misc]
            lambda count: count == 2,
            within_s=patience.promised(60),
        )
