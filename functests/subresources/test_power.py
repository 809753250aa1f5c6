"""The verbs of power over a running guest: both versions, rehearsals, races."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from functests.fixtures.warm import WarmVm
from functests.libs import build, patience
from functests.libs.cluster import Cluster
from functests.libs.console import Console, ConsoleRefused, open_socket
from functests.libs.kube import Space
from functests.libs.rest import VM, VMI, Answer, Rest, kubevirt_path, subresource_path
from functests.libs.watch import Watch
from functests.libs.witness import Witness

VERSIONS = ("v1", "v1alpha3")
REHEARSED = {"dryRun": ["All"]}
BOOT_ID = "cat /proc/sys/kernel/random/boot_id"


def _opens(space: Space, stream: str, version: str) -> int:
    """101 when the stream opens, and it is closed again; else the refusal's code."""
    try:
        open_socket(space.rest, subresource_path(VMI, space.name, "vm", stream, version=version)).close()
    except ConsoleRefused as refused:
        return refused.code
    return 101


def _ticks(console: Console) -> int:
    return max((int(number) for number in re.findall(r"^tick (\d+)\r?$", console.transcript, re.MULTILINE)), default=0)


def _at_rest(console: Console) -> int:
    """The count when it stands still: what was on its way when the guest was paused comes first."""
    counts = [_ticks(console)]

    def rests() -> bool:
        counts.append(_ticks(console))
        return counts[-1] == counts[-2]

    patience.eventually("the count stands still", rests, bool, every_s=1)
    return counts[-1]


@pytest.mark.case("SUB-008")
def test_both_versions_reach_the_guest(warm_vm: WarmVm) -> None:
    """
    Preconditions: a running guest with its agent and an address.
    Steps: in v1 and in v1alpha3: read guestosinfo, open VNC, a forwarded port, a console; let the guest count on that
        console; pause, unpause.
    Expected: the same codes in both; the count stands still for 5 s of the pause and goes on afterwards.
    """
    space = warm_vm.space
    space.wait_condition("vm", "AgentConnected", "True")
    patience.eventually(
        "the guest's port 22 can be reached", lambda: _opens(space, "portforward/22", "v1"), lambda code: code == 101
    )
    seen = {}
    for version in VERSIONS:
        codes = [space.rest.get(subresource_path(VMI, space.name, "vm", "guestosinfo", version=version)).code]
        codes += [_opens(space, stream, version) for stream in ("vnc", "portforward/22", "console")]
        console = space.console("vm", version=version).login(within_s=patience.boots(1))
        console.send("(i=0; while :; do i=$((i+1)); echo tick $i; sleep 0.3; done)\n")
        patience.eventually("the guest counts", lambda console=console: _ticks(console), lambda count: count > 2)  # type: ignore[misc]
        codes.append(space.act_on_vmi("vm", "pause", version=version).code)
        space.wait_condition("vm", "Paused", "True")
        still = _at_rest(console)
        patience.quiet(
            "a paused guest counts", lambda console=console: _ticks(console),  # type: ignore[misc]
            lambda count, still=still: count != still, for_s=5, every_s=0.5,  # type: ignore[misc]
        )  # fmt: skip
        codes.append(space.act_on_vmi("vm", "unpause", version=version).code)
        patience.eventually(
            "the guest counts on", lambda console=console: _ticks(console),  # type: ignore[misc]
            lambda count, still=still: count > still,  # type: ignore[misc]
        )  # fmt: skip
        space.wait_condition("vm", "Paused", "")
        console.interrupt()
        seen[version] = codes
    assert seen["v1"] == seen["v1alpha3"] == [200, 101, 101, 101, 200, 200], seen


@pytest.mark.case("SUB-009")
def test_a_rehearsal_of_power_changes_nothing(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a running VM with a witness.
    Steps: start, stop with gracePeriod 0, restart and pause it with dryRun All. (Migrate comes with migration.)
    Expected: 409, 202, 202, 200; VM, VMI and grace period are as they were; the guest goes on.
    """
    _, shell = space.boot(build.vm_of(build.with_grace(build.kernel_boot_vmi(cluster, "vm"), 30)))
    witness = Witness(shell)
    space.wait_vm_status("vm", "Running")
    space.wait_condition("vm", "AgentConnected", "True")

    def versions() -> tuple[str, str]:
        return space.vm("vm")["metadata"]["resourceVersion"], space.vmi("vm")["metadata"]["resourceVersion"]

    before = versions()
    codes = [
        space.act_on_vm("vm", "start", REHEARSED).code,
        space.act_on_vm("vm", "stop", {**REHEARSED, "gracePeriod": 0}).code,
        space.act_on_vm("vm", "restart", REHEARSED).code,
        space.act_on_vmi("vm", "pause", REHEARSED).code,
    ]
    assert codes == [409, 202, 202, 200], codes
    assert versions() == before
    assert space.vmi("vm")["spec"]["terminationGracePeriodSeconds"] == 30
    witness.check()


@pytest.mark.case("SUB-010")
def test_a_stop_does_not_lengthen_a_stop(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a VM with 300 s of grace whose guest ignores the power button.
    Steps: stop it; while it shuts down, stop it with gracePeriod 400, then with 1.
    Expected: 202; 409 and the VMI still has 300 s; 202, and the VMI is gone.
    """
    manifest = build.kernel_boot_vmi(cluster, "vm", kernel_args="tiny.powerbutton=0 tiny.agent=0")
    space.boot(build.vm_of(build.with_grace(manifest, 300)))
    assert space.act_on_vm("vm", "stop").code == 202
    space.wait_vmi("vm", lambda vmi: "deletionTimestamp" in vmi["metadata"], "is shutting down")
    longer = space.act_on_vm("vm", "stop", {"gracePeriod": 400})
    assert longer.code == 409, longer.text
    vmi = space.vmi("vm")
    assert vmi["spec"]["terminationGracePeriodSeconds"] == 300
    assert vmi["status"]["phase"] == "Running", vmi["status"]["phase"]
    shorter = space.act_on_vm("vm", "stop", {"gracePeriod": 1})
    assert shorter.code == 202, shorter.text
    space.wait_vmi_gone("vm", within_s=patience.promised(20))


def _restarted(rest: Rest, space: Space) -> Answer:
    return rest.put(subresource_path(VM, space.name, "vm", "restart"))


@pytest.mark.demand(boots=2)
@pytest.mark.case("SUB-011")
def test_ten_restarts_at_once_are_one(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a running VM of strategy Manual.
    Steps: ten restarts at the same moment.
    Expected: each is answered 202, 409 or 500, with a Status where it is refused; there is one new VMI and one only;
        no request is left; the guest has another boot id.
    """
    space.create(build.vm_of(build.kernel_boot_vmi(cluster, "vm"), "Manual"))
    assert space.act_on_vm("vm", "start").code == 202
    first = space.wait_running("vm")
    shell = space.shell("vm")
    before = shell.succeed(BOOT_ID)
    with Watch(space.rest, kubevirt_path(VMI, space.name)) as watch, ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: _restarted(space.rest, space), range(10)))
        assert {answer.code for answer in answers} <= {202, 409, 500}, [answer.text for answer in answers]
        assert [answer for answer in answers if answer.code == 202], [answer.text for answer in answers]
        refused = [answer for answer in answers if answer.code != 202]
        assert all(answer.body.get("kind") == "Status" for answer in refused), [answer.text for answer in refused]
        second = space.wait_running("vm", not_uid=first["metadata"]["uid"], within_s=patience.promised(60))
        assert space.shell("vm").succeed(BOOT_ID) != before
        space.wait_vm(
            "vm", lambda vm: not vm["status"].get("stateChangeRequests"), "no request is left"
        )
        patience.quiet(
            "a third VMI appears",
            lambda: {obj["metadata"]["uid"] for _, obj in watch.seen("vm")},
            lambda uids: uids != {first["metadata"]["uid"], second["metadata"]["uid"]},
            for_s=10,
        )


@pytest.mark.case("SUB-019")
def test_what_needs_an_agent_says_so(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a guest that runs without its agent; a VMI that fits on no node.
    Steps: ask both for guestosinfo, userlist, filesystemlist; freeze the first without a time-out.
    Expected: an error that speaks of the agent, and of not running; an error, and nothing is frozen.
    """
    space.boot(build.kernel_boot_vmi(cluster, "vm", kernel_args="tiny.agent=0"))
    space.create(build.on_node(build.kernel_boot_vmi(cluster, "waiting"), "no-such-node"))
    wrong = []
    for name, word in (("vm", "agent"), ("waiting", "not running")):
        for question in ("guestosinfo", "userlist", "filesystemlist"):
            answer = space.rest.get(subresource_path(VMI, space.name, name, question))
            if answer.code < 400 or word not in answer.message:
                wrong.append(f"{name} {question}: {answer.code} {answer.message}")
    assert not wrong, "\n".join(wrong)
    frozen = space.act_on_vmi("vm", "freeze", {})
    assert frozen.code >= 400, frozen.text
    assert "fsFreezeStatus" not in space.vmi("vm")["status"], space.vmi("vm")["status"]


@pytest.mark.case("SUB-022")
def test_a_long_name_with_dots_is_a_good_name(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: none.
    Steps: boot a VM whose name has 80 characters and dots; use console, pause and a forwarded port.
    Expected: it runs; the guest's host name is one DNS label; all three work; the pod carries the name's first 54
        characters, a dash and eight hex digits.
    """
    name = ".".join(["a-virtual-machine", "with-a-name", "that-goes-on-and-on", "and-ends-with", "xxxxxxxxxxxxxxxx"])
    assert len(name) == 80
    vmi, shell = space.boot(build.vm_of(build.kernel_boot_vmi(cluster, name)))
    hostname = shell.succeed("hostname")
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", hostname), hostname
    label = space.pod(vmi)["metadata"]["labels"]["vmi.kubevirt.io/id"]
    assert re.fullmatch(rf"{re.escape(name[:54])}-[0-9a-f]{{8}}", label), label

    def port() -> int:
        try:
            open_socket(space.rest, subresource_path(VMI, space.name, name, "portforward/22")).close()
        except ConsoleRefused as refused:
            return refused.code
        return 101

    patience.eventually("the guest's port 22 can be reached", port, lambda code: code == 101)
    assert space.act_on_vmi(name, "pause").code == 200
    space.wait_condition(name, "Paused", "True")
    assert space.act_on_vmi(name, "unpause").code == 200
    assert shell.succeed("echo $((6*7))", within_s=patience.boots(1)) == "42"
