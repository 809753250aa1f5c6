"""What people ask of the API while the components are replaced."""

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from functests.libs import build, patience, settings
from functests.libs.cluster import Cluster
from functests.libs.console import ConsoleRefused
from functests.libs.kube import Space
from functests.libs.rest import VM, VMI, Answer, kubevirt_path, subresource_path
from functests.libs.stack import API, CONTROLLER, HANDLER, Stack
from functests.libs.witness import Witness

pytestmark = [pytest.mark.serial, pytest.mark.disruptive]

REPLACED = {HANDLER: "DaemonSet", CONTROLLER: "Deployment", API: "Deployment"}
DRY_RUN = {"dryRun": ["All"]}


def _new_pods() -> dict[str, Any]:
    """A roll-out of all components, of the same images."""
    change = json.dumps({"spec": {"template": {"metadata": {"annotations": {"functest/roll-out": "yes"}}}}})
    return {"customizeComponents": {"patches": [
        {"resourceName": name, "resourceType": kind, "type": "strategic", "patch": change}
        for name, kind in REPLACED.items()
    ]}}  # fmt: skip


def _requests(space: Space, cluster: Cluster) -> dict[str, Callable[[], str]]:
    """Each one says why it failed, or ""."""

    def answered(code: int, answer: Answer) -> str:
        return "" if answer.code == code else f"{answer.code} {answer.message[:300]}"

    def console() -> str:
        try:
            space.console("vm").close()
        except ConsoleRefused as refused:
            return str(refused)
        return ""

    other = build.kernel_boot_vmi(cluster, "other")
    return {
        "read": lambda: answered(200, space.rest.get(kubevirt_path(VMI, space.name, "vm"))),
        "create": lambda: answered(201, space.try_create(other, dry_run=True)),
        "start": lambda: answered(202, space.rest.put(subresource_path(VM, space.name, "halted", "start"), DRY_RUN)),
        "console": console,
    }


@contextmanager
def _asked_meanwhile(requests: dict[str, Callable[[], str]]) -> Iterator[list[str]]:
    """One after the other without a pause, as the moments in which nobody answers are short. Gives what failed."""
    failed: list[str] = []
    is_over = threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            failed.extend(f"{kind}: {why}" for kind, request in requests.items() if (why := request()))

    with ThreadPoolExecutor(1) as person:
        asking = person.submit(ask)
        try:
            yield failed
        finally:
            is_over.set()
        asking.result()


@pytest.mark.demand(vcpus=2, memory_mib=800, boots=2, seconds=150)
@pytest.mark.timeout(600)
@pytest.mark.case("UPD-009")
def test_no_request_is_refused_while_the_components_are_replaced(
    space: Space, cluster: Cluster, stack: Stack
) -> None:
    """
    Preconditions: a running guest with a witness; two halted VMs.
    Steps: have all pods of node agent, controller and API server replaced; until that is done, over and over: read the
        VMI, create another and start a VM (dry runs), open the console; start the second VM when a new API server is
        there.
    Expected: no request fails; the second VM runs; the guest goes on.
    """
    _, shell = space.boot(build.kernel_boot_vmi(cluster, "vm"))
    witness = Witness(shell)
    for name in ("halted", "meanwhile"):
        space.create(build.vm_of(build.kernel_boot_vmi(cluster, name), "Halted"))
    before = {pod["metadata"]["uid"] for component in REPLACED for pod in stack.pods(component)}
    old_api = {pod["metadata"]["uid"] for pod in stack.pods(API)}
    is_started = False

    def look() -> list[str]:
        """What is not yet as it shall be."""
        nonlocal is_started
        if not is_started and {pod["metadata"]["uid"] for pod in stack.pods(API)} - old_api:
            space.act_on_vm("meanwhile", "start").ok()
            is_started = True
        found = {pod["metadata"]["uid"]: pod["metadata"]["name"] for name in REPLACED for pod in stack.pods(name)}
        return [f"{found[uid]} is an old one" for uid in before & found.keys()] + stack.faults()

    with settings.changed(stack.rest, _new_pods()):
        with _asked_meanwhile(_requests(space, cluster)) as failed:
            patience.eventually(
                "all pods are new ones, and ready", look, lambda missing: not missing, within_s=patience.promised(180)
            )
            # The old ones are told to stop when the new ones are ready.
            patience.quiet("a request fails", lambda: failed, bool, for_s=10)
        assert is_started
        space.wait_running("meanwhile")
    stack.wait_well()
    witness.shell = space.shell("vm")
    witness.check()
