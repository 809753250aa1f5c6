"""Power verbs from the command line: what they say, and what they refuse in the server's words."""

import time

import pytest

from cluster_up.exec import Result
from functests.libs import build, commands, patience, roles
from functests.libs.cluster import Cluster
from functests.libs.guest import Ticker
from functests.libs.kube import Space, condition, is_final
from functests.libs.rest import VM, VMI, subresource_path
from functests.libs.stalls import STALLS

FORCE = "Must both use --force=true and set --grace-period."


def _refused(done: Result, text: str) -> str:
    """"" when the command exited 1 with ``text`` on standard error and nothing on standard output; else what it did."""
    if (done.code, done.stdout) == (1, "") and text in done.stderr and "Traceback" not in done.stderr:
        return ""
    return f"expected exit 1 with {text!r}, got {done.code}, stdout {done.stdout!r}, stderr {done.stderr!r}"


@pytest.mark.case("CLI-020")
@pytest.mark.case("CLI-007")
@pytest.mark.case("CLI-004")
def test_verbs_on_a_running_guest(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a stopped VM that cannot be moved when it runs; the command is installed as kubectl-virt too.
    Steps: start it by kubectl virt; start, migrate, pause and unpause it, as vm and as vmi, in states that fit and that
        do not; as a user without rights; verbs on names and kinds that do not exist.
    Expected: the sentence of each verb and exit 0; the guest's ticks stop and go on; else exit 1, the server's own
        message on standard error, nothing on standard output; kubectl's flags pass, usage says "kubectl virt".
    """
    def kubectl(*words: str) -> Result:
        return commands.kubectl(cluster, "virt", *words, check=False)

    def virtctl(*words: str) -> Result:
        return commands.virtctl(cluster, *words, "-n", space.name)

    def says(done: Result, text: str) -> None:
        assert (done.code, done.stdout.strip(), done.stderr) == (0, text, ""), done

    # A bridge on the pod network: such a guest cannot be moved, and the webhook says so.
    bridged = {"spec": {"domain": {"devices": {"interfaces": [{"name": "default", "bridge": {}}]}}}}
    space.create(build.vm_of(build.merged(build.kernel_boot_vmi(cluster, "vm"), bridged), "Halted"))
    space.create(build.vm_of(build.kernel_boot_vmi(cluster, "off"), "Halted"))
    context = commands.kubectl(cluster, "config", "current-context").stdout.strip()
    says(kubectl("start", "vm", "-n", space.name, "--context", context), "VM vm was scheduled to start")
    usage = kubectl("start", "--help")
    assert (usage.code, "kubectl virt start" in usage.stdout) == (0, True), usage
    space.wait_running("vm")
    ticker = Ticker(space.shell("vm"))

    space.wait_condition("vm", "LiveMigratable", "False")
    user, rest = roles.user_with(space, "view")
    forbidden = rest.put(subresource_path(VM, space.name, "vm", "stop"))
    moving = space.rest.put(subresource_path(VM, space.name, "vm", "migrate"))
    wrong = {
        "start again": _refused(virtctl("start", "vm"), "VM is already running"),
        "start nobody": _refused(virtctl("start", "nobody"), 'virtualmachine.kubevirt.io "nobody" not found'),
        "stop without rights": _refused(virtctl("stop", "vm", "--as", user), forbidden.message),
        "migrate": _refused(virtctl("migrate", "vm"), moving.message),
        "pause a stopped VM": _refused(virtctl("pause", "vm", "off"), "is not set to run"),
        "unpause a stopped VM": _refused(virtctl("unpause", "vm", "off"), "is not set to run"),
        "unpause": _refused(virtctl("unpause", "vmi", "vm"), "VMI is not paused"),
        "pause of no kind": _refused(virtctl("pause", "foo", "vm"), "foo"),
        "pause nobody": _refused(virtctl("pause", "vmi", "nobody"), "nobody"),
    }
    assert (forbidden.code, moving.code >= 400) == (403, True), (forbidden.text, moving.text)
    assert not any(wrong.values()), wrong
    ticker.goes_on()
    for kind in ("vm", "vmi"):
        says(virtctl("pause", kind, "vm"), "VMI vm was scheduled to pause")
        space.wait_condition("vm", "Paused", "True")
        twice = _refused(virtctl("pause", kind, "vm"), "VMI is already paused")
        assert not twice, twice
        ticker.rests(for_s=2)
        says(virtctl("unpause", kind, "vm"), "VMI vm was scheduled to unpause")
        space.wait_condition("vm", "Paused", "")
        ticker.goes_on()


@pytest.mark.demand(boots=2, seconds=65)
@pytest.mark.case("CLI-005")
def test_force_and_grace_go_together(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a running VM with 20 s of grace whose guest ignores the power button.
    Steps: stop and restart with one of --force and --grace-period, and with a negative one; stop with both and 0; start
        it and stop it plainly.
    Expected: exit 1 with the rule, the guest untouched; it ends within 10 s; then it takes its 20 s.
    """
    manifest = build.with_grace(build.kernel_boot_vmi(cluster, "vm", kernel_args="tiny.powerbutton=0"), 20)
    vmi, _ = space.boot(build.vm_of(manifest))

    def virtctl(*words: str) -> Result:
        return commands.virtctl(cluster, *words, "-n", space.name)

    halves = (("--force",), ("--grace-period", "5"), ("--force", "--grace-period", "-1"))
    wrong = [
        f"{verb} {half}: {text}"
        for verb in ("stop", "restart")
        for half in halves
        if (text := _refused(virtctl(verb, "vm", *half), FORCE))
    ]
    assert not wrong, wrong
    same = space.vmi("vm")["metadata"]
    assert (same["uid"], "deletionTimestamp" in same) == (vmi["metadata"]["uid"], False), same

    def stopped(*flags: str) -> tuple[float, float]:
        """How long it took, and how long the machine stood still meanwhile."""
        STALLS.start()
        began = time.monotonic()
        done = virtctl("stop", "vm", *flags)
        assert (done.code, done.stdout.strip()) == (0, "VM vm was scheduled to stop"), done
        patience.eventually(
            "the VMI ended", lambda: space.get_vmi("vm"), lambda seen: seen is None or is_final(seen)
        )
        return time.monotonic() - began, STALLS.since(began)

    took, stalled_s = stopped("--force", "--grace-period", "0")
    assert took <= 10 + stalled_s, f"a forced stop took {took:.1f} s"
    space.wait_vmi_gone("vm", within_s=patience.promised(30))
    assert space.act_on_vm("vm", "start").code == 202
    space.wait_running("vm", not_uid=vmi["metadata"]["uid"])
    took, stalled_s = stopped()
    assert 17 <= took <= 26 + stalled_s, f"a stop with 20 s of grace took {took:.1f} s"


@pytest.mark.case("CLI-006")
def test_dry_runs_say_so_and_do_nothing(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a running VM whose guest ticks; a stopped one.
    Steps: start, stop, restart, pause, migrate with --dry-run.
    Expected: output that begins with "Dry Run execution"; both VMs have the versions of before and the VMI its spec, no
        migration is there, no tick is lost.
    """
    _, shell = space.boot(build.vm_of(build.kernel_boot_vmi(cluster, "vm")))
    space.create(build.vm_of(build.kernel_boot_vmi(cluster, "off"), "Halted"))
    space.wait_vm_status("off", "Stopped")
    space.wait_condition("vm", "AgentConnected", "True")
    space.wait_condition("vm", "LiveMigratable", "True")
    space.wait_vmi("vm", lambda vmi: bool(vmi["status"].get("guestOSInfo")), "knows the guest's system")
    space.wait_vm("vm", lambda vm: condition(vm, "Ready").get("status") == "True", "is ready")
    ticker = Ticker(shell)

    def versions() -> tuple[object, ...]:
        vms = [space.vm(name)["metadata"]["resourceVersion"] for name in ("vm", "off")]
        migrations = space.rest.get(
            f"/apis/kubevirt.io/v1/namespaces/{space.name}/virtualmachineinstancemigrations"
        ).ok()["items"]
        # The VMI's own version moves with what its guest tells; what counts of it are these.
        vmi = space.vmi("vm")
        return (*vms, vmi["metadata"].get("generation"), vmi["spec"], condition(vmi, "Paused"), migrations)

    before = versions()
    dry = {
        ("start", "off"): 0, ("stop", "vm"): 0, ("restart", "vm"): 0, ("pause", "vm", "vm"): 0, ("migrate", "vm"): 0,
    }  # fmt: skip
    wrong = []
    for words, code in dry.items():
        done = commands.virtctl(cluster, *words, "--dry-run", "-n", space.name)
        if done.code != code or not done.stdout.startswith("Dry Run execution"):
            wrong.append(f"{words}: {done}")
    assert not wrong, wrong
    patience.quiet("a dry run changed something", versions, lambda seen: seen != before, for_s=5)
    ticker.goes_on()
    assert space.rest.get(subresource_path(VMI, space.name, "vm", "guestosinfo")).code == 200
