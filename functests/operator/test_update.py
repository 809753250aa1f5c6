"""An update that cannot succeed."""

import pytest

from functests.libs import build, patience, settings
from functests.libs.cluster import Cluster
from functests.libs.kube import Object, Space, condition
from functests.libs.stack import API, CONTROLLER, HANDLER, Stack, is_ready
from functests.libs.witness import Witness

pytestmark = [pytest.mark.serial, pytest.mark.disruptive]

PULLS = ("ErrImagePull", "ImagePullBackOff")


def _waits_for_image(pod: Object) -> bool:
    status = pod["status"]
    states = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
    return any(entry.get("state", {}).get("waiting", {}).get("reason") in PULLS for entry in states)


@pytest.mark.needs("two-nodes")
@pytest.mark.demand(vcpus=2, memory_mib=800, boots=2, seconds=150)
@pytest.mark.timeout(600)
@pytest.mark.case("OPR-023")
def test_an_update_to_an_image_that_is_not_there_stops_at_the_first_node(
    space: Space, cluster: Cluster, stack: Stack
) -> None:
    """
    Preconditions: a running guest with a witness.
    Steps: set an imageTag that does not exist; when the first node agent waits for its image, boot and stop a VM on
        another node; set the tag back.
    Expected: Progressing and Degraded True, UpdateInProgress; never more than one node agent is away; API server and
        controller are the old ones; within three minutes all is ready again; the guest goes on.
    """
    _, shell = space.boot(build.kernel_boot_vmi(cluster, "vm"))
    witness = Witness(shell)
    old = {component: {pod["metadata"]["uid"] for pod in stack.pods(component)} for component in (API, CONTROLLER)}
    with settings.changed(stack.rest, {"imageTag": "no-such-tag"}):
        patience.eventually(
            "a node agent waits for its image", lambda: stack.pods(HANDLER),
            lambda pods: any(_waits_for_image(pod) for pod in pods), within_s=patience.promised(30),
        )  # fmt: skip
        found = settings.kubevirt(stack.rest)
        for kind in ("Progressing", "Degraded"):
            told = condition(found, kind)
            assert (told["status"], told["reason"]) == ("True", "UpdateInProgress"), told
        patience.quiet(
            "a second node agent is away", lambda: [pod for pod in stack.pods(HANDLER) if not is_ready(pod)],
            lambda away: len(away) > 1, for_s=15,
        )  # fmt: skip
        agents = {pod["spec"]["nodeName"]: is_ready(pod) for pod in stack.pods(HANDLER)}
        well = next(node for node in cluster.workers if agents[node])
        _, other = space.boot(build.vm_of(build.on_node(build.kernel_boot_vmi(cluster, "other"), well)))
        assert other.succeed("echo $((6*7))") == "42"
        assert space.act_on_vm("other", "stop").code == 202
        space.wait_vmi_gone("other", within_s=patience.promised(60))
        assert {name: {pod["metadata"]["uid"] for pod in stack.pods(name)} for name in old} == old
        stack.rest.patch(settings.path(stack.rest), {"spec": {"imageTag": None}}).ok()
        settings.wait_applied(stack.rest)
    stack.wait_well()
    witness.shell = space.shell("vm")
    witness.check()
