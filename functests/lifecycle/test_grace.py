"""The end of a guest: power button, grace period, and what is left when it has ended by itself."""

import itertools
import re
import time

import pytest

from functests.libs import build, patience
from functests.libs.cluster import Cluster
from functests.libs.kube import Space, phases
from functests.libs.nodes import Nodes
from functests.libs.rest import VMI, core_path, kubevirt_path
from functests.libs.stalls import STALLS
from functests.libs.watch import Watch

STUBBORN = "tiny.powerbutton=0"         # the guest ignores the power button


@pytest.mark.case("LIF-011")
def test_a_grace_period_can_be_shortened_only(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: an Always VM with 300 s of grace whose guest ignores the power button; it is being stopped.
    Steps: stop with gracePeriod 400, then with 2.
    Expected: 409, and the VMI's grace is still 300; 202, gone within 12 s, its last phase is Failed.
    """
    manifest = build.with_grace(build.kernel_boot_vmi(cluster, "vm", kernel_args=STUBBORN), 300)
    space.boot(build.vm_of(manifest))
    assert space.act_on_vm("vm", "stop").code == 202
    space.wait_vmi("vm", lambda seen: "deletionTimestamp" in seen["metadata"], "is being deleted")
    longer = space.act_on_vm("vm", "stop", {"gracePeriod": 400})
    assert longer.code == 409, longer.text
    assert space.vmi("vm")["spec"]["terminationGracePeriodSeconds"] == 300
    with Watch(space.rest, kubevirt_path(VMI, space.name)) as watch:
        shorter = space.act_on_vm("vm", "stop", {"gracePeriod": 2})
        assert shorter.code == 202, shorter.text
        last = watch.wait_for("the VMI is gone", lambda kind, _: kind == "DELETED", within_s=patience.promised(12))
    assert phases(last)[-1] == "Failed", phases(last)


@pytest.mark.demand(seconds=35)
@pytest.mark.case("LIF-021")
def test_the_power_button_is_pressed_again(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a running VMI with 12 s of grace whose guest notes each press with its uptime and does nothing else.
    Steps: delete it.
    Expected: two or three presses, 5 s apart (2 s more or less); QEMU ends 12 s after the deletion (4 s more or less);
        the last phase is Failed.
    """
    vmi, shell = space.boot(build.with_grace(build.kernel_boot_vmi(cluster, "vm"), 12))
    shell.succeed(
        "printf '#!/bin/sh\\nread -r up _ < /proc/uptime\\necho pressed-at-$up-s > /dev/console\\n' "
        "> /etc/acpi/PWRF/00000080"
    )
    node, pod = nodes[vmi["status"]["nodeName"]], space.pod(vmi)["metadata"]["uid"]
    since = shell.position
    with Watch(space.rest, kubevirt_path(VMI, space.name)) as watch:
        STALLS.start()
        began = time.monotonic()
        space.delete_vmi("vm").ok()
        patience.eventually(
            "QEMU has ended", lambda: [each for each in node.processes(pod) if each.is_qemu], lambda left: not left,
            within_s=patience.promised(30),
        )  # fmt: skip
        took = time.monotonic() - began
        last = watch.wait_for("the VMI is gone", lambda kind, _: kind == "DELETED", within_s=patience.promised(20))
    presses = [float(text) for text in re.findall(r"pressed-at-([0-9.]+)-s", shell.transcript[since:])]
    assert len(presses) in (2, 3), presses
    gaps = [later - earlier for earlier, later in itertools.pairwise(presses)]
    assert all(3 <= gap <= 7 for gap in gaps), presses
    assert 8 <= took <= 16 + STALLS.since(began), f"QEMU ended {took:.1f} s after the deletion"
    assert phases(last)[-1] == "Failed", phases(last)


@pytest.mark.case("LIF-029")
def test_a_guest_that_is_just_starting_hears_a_later_press(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: none.
    Steps: create a VMI with a grace of three boots (30 s at least); delete it as soon as it is Running.
    Expected: its kernel was still starting; it comes up and powers off; Succeeded, before the grace has passed.
    """
    grace = round(max(30.0, 3 * patience.boot_s()))
    with Watch(space.rest, kubevirt_path(VMI, space.name)) as watch:
        space.create(build.with_grace(build.kernel_boot_vmi(cluster, "vm"), grace))
        watch.wait_for(
            "Running", lambda _, seen: seen.get("status", {}).get("phase") == "Running", within_s=patience.boots(1)
        )
        space.delete_vmi("vm").ok()
        console = space.console("vm")
        heard = console.wait_for(r"power button, shutting down at ([0-9.]+) s", within_s=grace)
        last = watch.wait_for("the VMI is gone", lambda kind, _: kind == "DELETED", within_s=grace)
    assert phases(last)[-1] == "Succeeded", phases(last)
    # The first press came with the deletion, when no kernel could have heard of it yet.
    assert float(heard.group(1)) > 1.0, heard.group(0)


@pytest.mark.case("LIF-040")
def test_a_guest_without_acpi_and_agent(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a running VMI without ACPI, without an agent, with 5 s of grace.
    Steps: soft reboot; delete it.
    Expected: 409 that says why; it ends after 5 s (3 s more or less); the last phase is Succeeded, since there was no
        button to press.
    """
    manifest = build.with_grace(build.kernel_boot_vmi(cluster, "vm", kernel_args="tiny.agent=0"), 5)
    space.boot(build.merged(manifest, {"spec": {"domain": {"features": {"acpi": {"enabled": False}}}}}))
    refused = space.act_on_vmi("vm", "softreboot")
    assert refused.code == 409, refused.text
    assert "VMI neither have the agent connected nor the ACPI feature enabled" in refused.message, refused.text
    with Watch(space.rest, kubevirt_path(VMI, space.name)) as watch:
        STALLS.start()
        began = time.monotonic()
        space.delete_vmi("vm").ok()
        ended = watch.wait_for(
            "the VMI ended", lambda _, seen: seen["status"].get("phase") in ("Succeeded", "Failed"),
            within_s=patience.promised(20),
        )
        took = time.monotonic() - began
    assert ended["status"]["phase"] == "Succeeded", phases(ended)
    assert 2 <= took <= 8 + STALLS.since(began), f"it ended {took:.1f} s after the deletion"


@pytest.mark.demand(seconds=45)
@pytest.mark.case("LIF-040")
@pytest.mark.case("LIF-018")
def test_a_guest_that_powers_off_leaves_a_finished_pod(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a running bare VMI.
    Steps: power off inside the guest; then reset, soft reboot and pause it; the same of a VMI that does not exist.
    Expected: Succeeded and kept, no other pod for 30 s; the pod is Succeeded, was never Failed, each container ended
        with 0; reset is 400, the others 409; 404 without a VMI.
    """
    vmi, shell = space.boot(build.kernel_boot_vmi(cluster, "vm"))
    pod = space.pod(vmi)["metadata"]["name"]
    with Watch(space.rest, core_path("pods", space.name)) as pods:
        shell.send("poweroff -f\n")
        space.wait_vmi("vm", lambda seen: seen["status"]["phase"] == "Succeeded", "succeeded", may_end=True)
        codes = {verb: space.act_on_vmi("vm", verb).code for verb in ("reset", "softreboot", "pause")}
        assert codes == {"reset": 400, "softreboot": 409, "pause": 409}, codes
        unknown = {verb: space.act_on_vmi("nobody", verb).code for verb in ("reset", "softreboot", "pause")}
        assert set(unknown.values()) == {404}, unknown
        patience.quiet(
            "the VMI or its pods changed",
            lambda: (space.vmi("vm")["status"]["phase"], {entry["metadata"]["name"] for entry in space.pods(vmi)}),
            lambda seen: seen != ("Succeeded", {pod}),
            for_s=30,
        )
        seen = [obj["status"].get("phase") for _, obj in pods.seen(pod)]
    ended = space.rest.get(core_path("pods", space.name, pod)).ok()["status"]
    assert ended["phase"] == "Succeeded", ended
    assert "Failed" not in seen, seen
    exits = {entry["name"]: entry["state"]["terminated"]["exitCode"] for entry in ended["containerStatuses"]}
    assert set(exits.values()) == {0}, exits
    assert "guest-console-log" in exits, exits
