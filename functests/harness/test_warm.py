"""The look at a running guest sees whatever a test may have done to it."""

import pytest

from functests.libs import build, patience, warm
from functests.libs.cluster import Cluster
from functests.libs.guestnet import addressed
from functests.libs.kube import Space
from functests.libs.rest import VMI, core_path, kubevirt_path

# What is done in the guest's shell -> whose answer must be another one then.
DONE = (
    ("{ sleep 1000 & }", "processes"),
    ("{ setsid sleep 1001 > /dev/null 2>&1 < /dev/null & }", "processes"),
    ("echo x > /tmp/left", "files"),
    ("chmod 600 /etc/hosts", "files"),
    ("rm /etc/shells", "files"),
    ("touch /dev/shm/left", "files"),
    ("mknod /dev/left p", "devices"),
    ("mount -t tmpfs left /mnt", "mounts"),
    ("ip addr add 192.0.2.7/32 dev lo", "links"),
    ("ip link set eth0 mtu 1400", "links"),
    ("ip route add 192.0.2.0/24 via 10.0.2.1", "routes"),
    ("ip neigh add 10.0.2.9 lladdr 02:00:00:00:00:09 dev eth0 nud permanent", "routes"),
    ("sysctl -w net.ipv4.ip_forward=1", "routes"),
    ("left=1", "variables"),
    ("cd /tmp", "shell"),
    ("umask 077", "shell"),
    ("alias left=true", "shell"),
    ("stty -echoctl", "shell"),
    ("hostname left", "boot"),
    ("date -s 2001-01-01", "boot"),
)


def _look(space: Space) -> warm.State:
    with space.console(warm.NAME) as shell:
        return warm.look(space, shell)


@pytest.mark.demand(seconds=60)
@pytest.mark.case("HAR-003")
def test_every_kind_of_change_is_seen(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a guest at rest.
    Steps: look twice; do one thing after the other to it, to its console, its VMI and its namespace, and look after
        each.
    Expected: the two looks are the same; each thing changes the answer to the question that is about it; a shell that
        does not answer is told.
    """
    _, shell = space.boot(build.kernel_boot_vmi(cluster, warm.NAME))
    addressed(shell)
    space.wait_condition(warm.NAME, "AgentConnected", "True")
    before = warm.settled(space, shell)
    shell.close()
    assert warm.looked_again(space, before) == ""

    missed = []
    for command, question in DONE:
        with space.console(warm.NAME) as typed:
            typed.run(command)
        after = _look(space)
        changed = [name for name in after if after[name] != before[name]]
        missed += [] if question in changed else [f"{command!r} changed {changed}, not {question}"]
        before = after
    assert not missed, "\n".join(missed)

    path = kubevirt_path(VMI, space.name, warm.NAME)
    space.rest.patch(path, {"metadata": {"labels": {"left": "here"}}}).ok()
    space.rest.post(core_path("configmaps", space.name), {"metadata": {"name": "left"}}).ok()
    said = warm.changes(before, _look(space))
    assert '"left": "here"' in said, said
    assert f"{core_path('configmaps', space.name)}/left" in said, said

    before = _look(space)
    space.rest.post(core_path("configmaps", space.name), {"metadata": {"name": "more"}}).ok()
    assert warm.looked_again(space, before) == "", "what is new in the namespace is deleted, and counts for nothing"
    with space.console(warm.NAME) as typed:
        typed.send("left-half-typed")
    assert "console:" in warm.looked_again(space, before)
    with space.console(warm.NAME) as typed:
        typed.login(within_s=patience.boots(1))
        typed.send("cat\n")
    assert "no shell answers" in warm.looked_again(space, before)
