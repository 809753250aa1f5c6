"""How a VM's strategy and the calls that start, stop and restart it go together."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from functests.libs import build, patience
from functests.libs.cluster import Cluster
from functests.libs.guest import Ticker, boot_id
from functests.libs.kube import Object, Space, condition
from functests.libs.refusal import misfit
from functests.libs.rest import VM, VMI, core_path, kubevirt_path, subresource_path
from functests.libs.watch import Watch

STUBBORN = "tiny.powerbutton=0"         # the guest ignores the power button


def _strategy(space: Space, value: str) -> Object:
    """Patch the strategy and wait until the controller has acted on it."""
    space.patch_vm("vm", {"spec": {"runStrategy": value}}).ok()
    return space.wait_vm("vm", lambda vm: vm["status"].get("runStrategy") == value, f"acted on {value}")


@pytest.mark.demand(boots=2)
@pytest.mark.case("LIF-006")
def test_a_vm_that_says_running_never_says_strategy(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a running VM with spec.running true and no runStrategy.
    Steps: stop, then start by API.
    Expected: running false, then true; no key runStrategy in any version of the spec; another boot.
    """
    manifest = build.vm_of(build.kernel_boot_vmi(cluster, "vm"), None)
    with Watch(space.rest, kubevirt_path(VM, space.name)) as watch:
        vmi, shell = space.boot(build.merged(manifest, {"spec": {"running": True}}))
        first = boot_id(shell)
        assert space.act_on_vm("vm", "stop").code == 202
        assert space.vm("vm")["spec"]["running"] is False
        space.wait_vmi_gone("vm", within_s=patience.promised(40))
        assert space.act_on_vm("vm", "start").code == 202
        assert space.vm("vm")["spec"]["running"] is True
        space.wait_running("vm", not_uid=vmi["metadata"]["uid"], within_s=patience.boots(1))
        assert boot_id(space.shell("vm")) != first
        keys = {key for _, vm in watch.seen("vm") for key in vm["spec"]}
    assert "running" in keys, keys
    assert "runStrategy" not in keys, keys


@pytest.mark.case("LIF-032")
def test_another_strategy_leaves_the_guest_alone(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a running Always VM with 30 s of grace.
    Steps: patch its strategy to Manual, RerunOnFailure, Once, Always; to a word that is none; to Halted.
    Expected: the same VMI and boot all the way; 422 at spec.runStrategy; then the guest's own shutdown.
    """
    vmi, shell = space.boot(build.vm_of(build.with_grace(build.kernel_boot_vmi(cluster, "vm"), 30)))
    uid, boot = vmi["metadata"]["uid"], boot_id(shell)
    for value in ("Manual", "RerunOnFailure", "Once", "Always"):
        _strategy(space, value)
        seen = space.vmi("vm")
        assert (seen["metadata"]["uid"], seen["status"]["phase"]) == (uid, "Running"), (value, seen["status"])
        assert "deletionTimestamp" not in seen["metadata"], value
    assert boot_id(shell) == boot
    refused = misfit(space.patch_vm("vm", {"spec": {"runStrategy": "Sometimes"}}), "spec.runStrategy")
    assert not refused, refused
    assert space.vm("vm")["spec"]["runStrategy"] == "Always"

    since = shell.position
    space.patch_vm("vm", {"spec": {"runStrategy": "Halted"}}).ok()
    shell.wait_for("power button, shutting down", within_s=patience.promised(20), since=since)
    space.wait_vmi_gone("vm", within_s=patience.promised(40))
    space.wait_vm_status("vm", "Stopped")


@pytest.mark.demand(boots=2, seconds=35)
@pytest.mark.case("LIF-012")
@pytest.mark.case("LIF-015")
def test_calls_at_once_give_one_guest_and_restart_another(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a stopped Manual VM.
    Steps: eight start calls at the same moment; when the guest runs, restart.
    Expected: at least one 202, the others 409 or 500; one VMI and one launcher pod ever. Restart is 202; the queue has
        Stop with the VMI's uid, then Start, at the end nothing; another VMI and boot, the same VMI 15 s later; the old
        pod is gone; the strategy is Manual.
    """
    space.create(build.vm_of(build.kernel_boot_vmi(cluster, "vm"), "Manual"))
    space.wait_vm_status("vm", "Stopped")
    path = subresource_path(VM, space.name, "vm", "start")
    with (
        Watch(space.rest, kubevirt_path(VMI, space.name)) as vmis,
        Watch(space.rest, core_path("pods", space.name)) as pods,
    ):
        with ThreadPoolExecutor(8) as pool:
            answers = [call.result() for call in [pool.submit(space.rest.put, path) for _ in range(8)]]
        codes = sorted(answer.code for answer in answers)
        assert 202 in codes, codes
        assert set(codes) <= {202, 409, 500}, [answer.text for answer in answers]
        first = space.wait_running("vm")
        boot = boot_id(space.shell("vm"))
        space.wait_vm("vm", lambda vm: not vm["status"].get("stateChangeRequests"), "the queue is empty")
        assert {obj["metadata"]["uid"] for _, obj in vmis.seen()} == {first["metadata"]["uid"]}
        assert len({obj["metadata"]["uid"] for _, obj in pods.seen()}) == 1

    uid, old = first["metadata"]["uid"], space.pod(first)["metadata"]["name"]
    with Watch(space.rest, kubevirt_path(VM, space.name)) as vms:
        assert space.act_on_vm("vm", "restart").code == 202
        second = space.wait_running("vm", not_uid=uid, within_s=patience.boots(2))
        vm = space.wait_vm("vm", lambda vm: not vm["status"].get("stateChangeRequests"), "the queue is empty")
        queues = [obj.get("status", {}).get("stateChangeRequests", []) for _, obj in vms.seen("vm")]
    assert [(entry["action"], entry.get("uid")) for entry in next(filter(None, queues))] == [
        ("Stop", uid), ("Start", None),
    ], queues  # fmt: skip
    assert vm["spec"]["runStrategy"] == "Manual"
    assert boot_id(space.shell("vm")) != boot
    patience.eventually(
        "the old pod is gone", lambda: space.rest.get(core_path("pods", space.name, old)).code, lambda code: code == 404
    )
    uid = second["metadata"]["uid"]
    patience.quiet(
        "the new VMI was touched",
        lambda: (space.vmi("vm")["metadata"]["uid"], space.vmi("vm")["status"]["phase"]),
        lambda seen: seen != (uid, "Running"),
        for_s=15,
    )


@pytest.mark.demand(boots=2)
@pytest.mark.case("LIF-013")
def test_a_forced_restart_does_not_wait_for_the_guest(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a running Always VM with 600 s of grace whose guest ignores the power button.
    Steps: restart with gracePeriodSeconds 0.
    Expected: the VMI's grace of 1 s is written before the Stop request; the old pod is gone within 45 s; another boot;
        the strategy is Always.
    """
    manifest = build.with_grace(build.kernel_boot_vmi(cluster, "vm", kernel_args=STUBBORN), 600)
    vmi, shell = space.boot(build.vm_of(manifest))
    boot, old = boot_id(shell), space.pod(vmi)["metadata"]["name"]
    with (
        Watch(space.rest, kubevirt_path(VM, space.name)) as vms,
        Watch(space.rest, kubevirt_path(VMI, space.name)) as vmis,
    ):
        answer = space.act_on_vm("vm", "restart", {"gracePeriodSeconds": 0})
        assert answer.code == 202, answer.text
        asked = vms.wait_for(
            "the Stop request", lambda _, vm: bool(vm.get("status", {}).get("stateChangeRequests")),
            within_s=patience.promised(10),
        )
        graced = vmis.wait_for(
            "a grace of 1 s", lambda _, seen: seen["spec"].get("terminationGracePeriodSeconds") == 1,
            within_s=patience.promised(10),
        )
    assert int(graced["metadata"]["resourceVersion"]) < int(asked["metadata"]["resourceVersion"])
    patience.eventually(
        "the old pod is gone", lambda: space.rest.get(core_path("pods", space.name, old)).code,
        lambda code: code == 404, within_s=patience.promised(45),
    )  # fmt: skip
    try:
        space.wait_running("vm", not_uid=vmi["metadata"]["uid"], within_s=patience.boots(2))
        assert boot_id(space.shell("vm")) != boot
        assert space.vm("vm")["spec"]["runStrategy"] == "Always"
    finally:
        # The new guest is as stubborn and has its 600 s again, which no teardown waits for.
        space.act_on_vm("vm", "stop", {"gracePeriod": 0})


@pytest.mark.demand(seconds=30)
@pytest.mark.case("LIF-014")
def test_dry_runs_change_nothing(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a running Always VM whose guest ticks; a stopped Manual VM.
    Steps: with dryRun All: stop, stop with a grace period, restart and pause the first, start the second.
    Expected: 202, pause 200; for 10 s the same VMI, generation, grace and phase, and no VMI of the second; no tick is
        lost.
    """
    vmi, shell = space.boot(build.vm_of(build.kernel_boot_vmi(cluster, "vm")))
    space.create(build.vm_of(build.kernel_boot_vmi(cluster, "off"), "Manual"))
    space.wait_vm_status("off", "Stopped")
    ticker = Ticker(shell)

    def state() -> tuple[object, ...]:
        seen, vm = space.vmi("vm"), space.vm("vm")
        return (
            seen["metadata"]["uid"], seen["status"]["phase"], seen["spec"]["terminationGracePeriodSeconds"],
            "deletionTimestamp" in seen["metadata"], condition(seen, "Paused"), vm["metadata"]["generation"],
            vm["spec"], space.get_vmi("off"),
        )  # fmt: skip

    before, dry = state(), {"dryRun": ["All"]}
    assert before[0] == vmi["metadata"]["uid"]
    calls: tuple[tuple[str, str, str, dict[str, int], int], ...] = (
        (VM, "vm", "stop", {}, 202), (VM, "vm", "stop", {"gracePeriod": 10}, 202), (VM, "vm", "restart", {}, 202),
        (VMI, "vm", "pause", {}, 200), (VM, "off", "start", {}, 202),
    )  # fmt: skip
    wrong = [
        f"{verb} {options}: {answer.code} {answer.text[:200]}"
        for plural, name, verb, options, code in calls
        if (answer := space.rest.put(subresource_path(plural, space.name, name, verb), {**options, **dry})).code != code
    ]
    assert not wrong, wrong
    patience.quiet("a dry run changed something", state, lambda seen: seen != before, for_s=10)
    ticker.goes_on()
