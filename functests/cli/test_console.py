"""The console from a person's terminal."""

import re
import time
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
        terminal.wait_for(BANNER, within_s=20)
        terminal.wait_raw(within_s=5)
        terminal.type("\n echo $((6*7))-an''swer\n")
        terminal.wait_for("42-answer", within_s=20)
        # Ctrl-C goes to the foreground's process group. A word of the guest's own shell can come before its child is
        # that group; a word of the child cannot.
        terminal.type("sh -c 'echo sl\"\"eeping; exec sleep 1000'; echo af''ter\n")
        terminal.wait_for("\nsleeping", within_s=20)
        terminal.interrupt()
        terminal.type("\n echo in''terrupted\n")
        terminal.wait_for("interrupted", within_s=20)
        assert b"\nafter" not in terminal.output, "sleep ended by itself"
        terminal.type(LEAVE)
        assert terminal.wait_end(within_s=10) == 0
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
    Steps: open the first one's console with a limit of one minute; delete the second.
    Expected: exit 1 after 60 to 75 s; the console ends with a message and the terminal's settings of before.
    """
    space.create(build.on_node(build.kernel_boot_vmi(cluster, "late"), "no-such-node"))
    space.create(build.kernel_boot_vmi(cluster, "vm"))
    with _terminal(cluster, space, "late", "--timeout", "1") as waiting:
        started = time.monotonic()
        space.wait_running("vm")
        space.shell("vm").close()
        with _terminal(cluster, space, "vm") as terminal:
            terminal.wait_for(BANNER, within_s=20)
            space.delete_vmi("vm")
            terminal.wait_end(within_s=patience.boots(1))
            said = re.sub(BANNER.encode(), b"", terminal.output).strip()
            assert said, "the console ended without a word"
            assert terminal.settings() == terminal.before
        assert waiting.wait_end(within_s=80) == 1
        took = time.monotonic() - started
    assert 60 <= took <= 75, f"it waited {took:.0f} s"
