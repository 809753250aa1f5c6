"""Settings of the KubeVirt object that admission follows while it runs: new VMIs get them, old ones stay."""

from typing import Any

import pytest

from functests.libs import build, patience, refusal, settings
from functests.libs.build import Manifest
from functests.libs.cluster import Cluster
from functests.libs.kube import Space
from functests.libs.stack import API, COMPONENTS, Stack, log_of

pytestmark = pytest.mark.serial

FOLLOWS_S = 10


def _pods(stack: Stack) -> set[str]:
    return {pod["metadata"]["uid"] for component in COMPONENTS for pod in stack.pods(component)}


def _stored(space: Space, manifest: Manifest) -> Any:
    """The spec as it would be stored."""
    return space.try_create(manifest, dry_run=True).ok()["spec"]


@pytest.mark.demand(vcpus=0, memory_mib=0, boots=0)
@pytest.mark.case("ADM-007")
@pytest.mark.parametrize("strategy", ["Stage", "LiveUpdate"])
def test_a_guest_larger_than_its_limit(space: Space, cluster: Cluster, stack: Stack, strategy: str) -> None:
    """
    Preconditions: the rollout strategy Stage, or LiveUpdate.
    Steps: create a VMI with 256Mi of guest memory and a limit of 128Mi (dry run).
    Expected: 422 at spec.domain.memory.guest under Stage; admitted under LiveUpdate.
    """
    large = {"spec": {"domain": {"memory": {"guest": "256Mi"}, "resources": {"limits": {"memory": "128Mi"}}}}}
    manifest = build.merged(build.kernel_boot_vmi(cluster, "vm"), large)
    other = {"Stage": "LiveUpdate", "LiveUpdate": "Stage"}[strategy]
    wanted = {"Stage": 422, "LiveUpdate": 201}

    def judged(by: str) -> None:
        answer = patience.eventually(
            f"admission follows {by}", lambda: space.try_create(manifest, dry_run=True),
            lambda answer: answer.code == wanted[by], within_s=patience.promised(FOLLOWS_S),
        )  # fmt: skip
        if by == "Stage":
            assert not refusal.misfit(answer, "spec.domain.memory.guest"), answer.text

    with settings.changed(stack.rest, {"configuration": {"vmRolloutStrategy": other}}):
        judged(other)
        stack.rest.patch(settings.path(stack.rest), {"spec": {"configuration": {"vmRolloutStrategy": strategy}}}).ok()
        judged(strategy)


@pytest.mark.demand(vcpus=0, memory_mib=0, boots=0)
@pytest.mark.case("ADM-018")
def test_a_broken_default_breaks_no_webhook(space: Space, cluster: Cluster, stack: Stack) -> None:
    """
    Preconditions: none.
    Steps: set evictionStrategy of the cluster to "Bogus"; create a VMI without one of its own (dry run).
    Expected: 422 at the setting, which stays as it was; the VMI is admitted; virt-api was not restarted and wrote no
        traceback.
    """
    before, restarts = settings.kubevirt(stack.rest)["spec"], stack.restarts()
    bogus = {"spec": {"configuration": {"evictionStrategy": "Bogus"}}}
    refused = stack.rest.patch(settings.path(stack.rest), bogus)
    assert not refusal.misfit(refused, "spec.configuration.evictionStrategy"), refused.text
    assert settings.kubevirt(stack.rest)["spec"] == before
    answer = space.try_create(build.kernel_boot_vmi(cluster, "vm"), dry_run=True)
    assert answer.code == 201, answer.text
    assert stack.restarts() == restarts
    log = log_of(stack.rest, API, since_s=30)
    assert "Traceback" not in log, log[-3000:]


@pytest.mark.case("ADM-039")
def test_the_cluster_chooses_the_default_network(space: Space, cluster: Cluster, stack: Stack) -> None:
    """
    Preconditions: none.
    Steps: boot a VMI without a network; set defaultNetworkInterface to masquerade, then to bridge, and create a VMI
        that names no network each time (dry run); one that wants none.
    Expected: the first has no card but lo; new ones get the binding in force within 10 s; the one that wants none gets
        none; the running one is as it was.
    """
    bare = build.merged(build.kernel_boot_vmi(cluster, "none"), {"spec": {
        "networks": None, "domain": {"devices": {"interfaces": None, "autoattachPodInterface": False}}}})  # fmt: skip
    silent = build.merged(build.kernel_boot_vmi(cluster, "silent"), {"spec": {
        "networks": None, "domain": {"devices": {"interfaces": None}}}})  # fmt: skip
    vmi, shell = space.boot(bare)
    assert "interfaces" not in vmi["spec"]["domain"]["devices"], vmi["spec"]["domain"]["devices"]
    assert shell.succeed("ls /sys/class/net").split() == ["lo"]

    def binding() -> set[str]:
        (card,) = _stored(space, silent)["domain"]["devices"]["interfaces"]
        return set(card) - {"name"}

    def setting(value: str) -> dict[str, Any]:
        return {"configuration": {"network": {"defaultNetworkInterface": value}}}

    with settings.changed(stack.rest, setting("masquerade")):
        for value in ("masquerade", "bridge"):
            stack.rest.patch(settings.path(stack.rest), {"spec": setting(value)}).ok()
            patience.eventually(
                f"{value} is the default", binding, lambda seen, value=value: seen == {value}  # type: ignore[misc]
            )
        another = build.merged(bare, {"metadata": {"name": "another"}})
        assert "interfaces" not in _stored(space, another)["domain"]["devices"]
        assert space.vmi("none")["spec"] == vmi["spec"]
    assert shell.succeed("ls /sys/class/net").split() == ["lo"]


@pytest.mark.demand(boots=2, vcpus=2, memory_mib=800)
@pytest.mark.case("ADM-040")
def test_new_machines_follow_the_clusters_defaults(space: Space, cluster: Cluster, stack: Stack) -> None:
    """
    Preconditions: a running VMI.
    Steps: set evictionStrategy LiveMigrate, another cpuModel and cpuRequest 200m; create VMIs with and without values
        of their own; boot one.
    Expected: within 10 s a new VMI has all three; own values stay; the guest sees the model; the running one is as it
        was; no component's pod is another one.
    """
    vmi, _ = space.boot(build.kernel_boot_vmi(cluster, "old"))
    pods = _pods(stack)
    configured = settings.kubevirt(stack.rest)["spec"].get("configuration", {}).get("cpuModel")
    model = "Westmere" if configured == "Nehalem" else "Nehalem"
    wanted = {"evictionStrategy": "LiveMigrate", "cpuModel": model, "cpuRequest": "200m"}
    own = build.merged(build.kernel_boot_vmi(cluster, "own"), {"spec": {"evictionStrategy": "None", "domain": {
        "cpu": {"model": "qemu64"}, "resources": {"requests": {"cpu": "300m"}}}}})  # fmt: skip

    def three(manifest: Manifest) -> tuple[str, str, str]:
        spec = _stored(space, manifest)
        requests = spec["domain"].get("resources", {}).get("requests", {})
        return spec["evictionStrategy"], spec["domain"]["cpu"]["model"], str(requests.get("cpu"))

    new = build.kernel_boot_vmi(cluster, "new")
    with settings.changed(stack.rest, {"configuration": wanted}):
        patience.eventually(
            "a new VMI has the new defaults", lambda: three(new),
            lambda seen: seen == ("LiveMigrate", model, "200m"), within_s=patience.promised(FOLLOWS_S),
        )  # fmt: skip
        assert three(own) == ("None", "qemu64", "300m")
        booted, shell = space.boot(new)
        assert booted["spec"]["domain"]["cpu"]["model"] == model
        assert model in shell.succeed("grep -m 1 '^model name' /proc/cpuinfo")
        assert space.vmi("old")["spec"] == vmi["spec"]
    assert _pods(stack) == pods
