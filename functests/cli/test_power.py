"""start, stop and restart from the command line, judged by the guest."""

import pytest

from functests.libs import build, commands, patience
from functests.libs.cluster import Cluster
from functests.libs.kube import Space


@pytest.mark.demand(boots=3)
@pytest.mark.case("CLI-003")
def test_power_verbs_say_and_do(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a stopped VM.
    Steps: start --paused, unpause, start again, restart, stop.
    Expected: the sentence of each verb, exit 0; a paused guest prints nothing; a second start exits 1 with the server's
        text on stderr; restart gives a new VMI; stop ends it.
    """
    space.create(build.vm_of(build.kernel_boot_vmi(cluster, "vm"), "Halted"))

    def virtctl(*words: str) -> str:
        done = commands.virtctl(cluster, *words, "vm", "--namespace", space.name)
        assert (done.code, done.stderr) == (0, ""), f"{words}: exit {done.code}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    assert virtctl("start", "--paused") == "VM vm was scheduled to start"
    first = space.wait_condition("vm", "Paused", "True", within_s=patience.boots(1))
    console = space.console("vm")
    patience.quiet("the paused guest prints", lambda: console.transcript, bool, for_s=3)
    virtctl("unpause", "vm")
    console.login(within_s=patience.boots(1))
    assert console.succeed("echo $((6*7))") == "42"

    again = commands.virtctl(cluster, "start", "vm", "--namespace", space.name)
    assert (again.code, again.stdout) == (1, ""), again.stdout
    assert "VM is already running" in again.stderr, again.stderr

    assert virtctl("restart") == "VM vm was scheduled to restart"
    second = space.wait_running("vm", not_uid=first["metadata"]["uid"], within_s=patience.boots(2))
    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    assert virtctl("stop") == "VM vm was scheduled to stop"
    space.wait_vmi_gone("vm")
    assert space.vm("vm")["spec"]["runStrategy"] == "Halted"
