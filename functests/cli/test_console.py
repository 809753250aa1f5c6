"""The console from a person's terminal."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from functests.fixtures.warm import WarmVm
from functests.libs import build, commands, patience
from functests.libs.cluster import Cluster
from functests.libs.kube import Space
from functests.libs.terminal import Terminal

BANNER = r"Successfully connected to vm console\. Press Ctrl\+\] or Ctrl\+5 to exit console\."
LEAVE = "\x1d"


def _terminal(cluster: Cluster, space: Space, name: str, *flags: str) -> Terminal:
    argv = [commands.VIRTCTL, "console", name, "--namespace", space.name, *flags]
    return Terminal(argv, commands.environment(cluster))


@pytest.mark.demand(seconds=20)
@pytest.mark.case("CLI-008")
def test_the_console_serves_a_person_and_a_pipe(warm_vm: WarmVm, cluster: Cluster, tmp_path: Path) -> None:
    """
    Preconditions: a running guest.
    Steps: open its console in a terminal: type a command, interrupt another, leave; then feed it through a pipe.
    Expected: the banner; the guest's answer; Ctrl-C reaches the guest; Ctrl-] ends with 0 and the settings of before.
    """
    space = warm_vm.space
    warm_vm.shell.close()
    with _terminal(cluster, space, "vm") as terminal:
        terminal.wait_for(BANNER, within_s=patience.promised(20))
        terminal.wait_raw(within_s=patience.promised(5))
        terminal.type("\n echo $((6*7))-an''swer\n")
        terminal.wait_for("42-answer", within_s=patience.promised(20))
        # Ctrl-C goes to the foreground's process group. A word of the guest's own shell can come before its child is
        # that group; a word of the child cannot.
        terminal.type("sh -c 'echo sl\"\"eeping; exec sleep 1000'; echo af''ter\n")
        terminal.wait_for("\nsleeping", within_s=patience.promised(20))
        # What is typed close behind Ctrl-C may be dropped: the shell's prompt says that it listens again.
        since = len(terminal.output)
        terminal.interrupt()
        terminal.wait_for("tiny# ", within_s=patience.promised(20), since=since)
        terminal.type("\n echo in''terrupted\n")
        terminal.wait_for("interrupted", within_s=patience.promised(20))
        assert b"\nafter" not in terminal.output, "sleep ended by itself"
        terminal.type(LEAVE)
        assert terminal.wait_end(within_s=patience.promised(10)) == 0
        assert terminal.settings() == terminal.before

    # The pipe stays open until the guest has answered, as a person's script would do it.
    said = tmp_path / "said"
    asks = f"printf '\\necho piped\\n'; until grep -q '^piped' {said}; do sleep 0.1; done; printf '\\035'"
    piped = commands.shell(cluster, f"({asks}) | virtctl console vm -n {space.name} > {said}")
    assert piped.code == 0, f"{piped.stderr}{said.read_text()}"


@pytest.mark.demand(boots=1, seconds=75)
@pytest.mark.case("CLI-008")
def test_the_console_ends_with_its_vm(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a VMI that cannot be scheduled; a running guest with its console in a terminal.
    Steps: open the first one's console with a limit of one minute (of five without it); delete the second.
    Expected: exit 1 when the minute is over; the console ends with a message and the terminal's settings of before.
    """
    space.create(build.on_node(build.kernel_boot_vmi(cluster, "late"), "no-such-node"))
    space.create(build.kernel_boot_vmi(cluster, "vm"))
    # Timed by itself: what is done beside it may take longer than its minute.
    late = ("console", "late", "--namespace", space.name, "--timeout", "1")
    with ThreadPoolExecutor(1) as beside:
        waiting = beside.submit(commands.virtctl, cluster, *late, deadline_s=patience.promised(75))
        space.wait_running("vm")
        space.shell("vm").close()
        with _terminal(cluster, space, "vm") as terminal:
            terminal.wait_for(BANNER, within_s=patience.promised(20))
            space.delete_vmi("vm")
            terminal.wait_end(within_s=patience.boots(1))
            said = re.sub(BANNER.encode(), b"", terminal.output).strip()
            assert said, "the console ended without a word"
            assert terminal.settings() == terminal.before
        ended = waiting.result()
    assert ended.code == 1, ended
    assert 60 <= ended.seconds <= patience.promised(75), f"it waited {ended.seconds:.0f} s"
