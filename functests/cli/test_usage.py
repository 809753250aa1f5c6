"""How the command explains itself, and how it refuses bad usage. Needs no guest."""

import re

import pytest

from functests.libs import commands
from functests.libs.cluster import Cluster

VERBS = ("console", "pause", "restart", "start", "stop", "unpause", "version", "vnc")


@pytest.mark.case("CLI-001")
def test_the_command_helps_and_refuses_in_one_line(cluster: Cluster) -> None:
    """
    Preconditions: none.
    Steps: run it bare, with --help, each verb with --help, and with wrong verbs, flags and argument counts.
    Expected: help names every verb, with usage and flags; bad usage: exit 1, no output, one line on stderr that
        names it.
    """
    faults = []
    bare: tuple[tuple[str, ...], ...] = ((), ("--help",))
    for words in bare:
        shown = commands.virtctl(cluster, *words)
        missing = [verb for verb in VERBS if not re.search(rf"^\s+{verb}\b", shown.stdout, re.MULTILINE)]
        if shown.code != 0 or missing:
            faults.append(f"{words}: exit {shown.code}, not listed: {missing}: {shown.stdout}{shown.stderr}")
    for verb in VERBS:
        shown = commands.virtctl(cluster, verb, "--help")
        if shown.code != 0 or verb not in shown.stdout or not re.search(r"usage", shown.stdout, re.IGNORECASE):
            faults.append(f"{verb} --help: exit {shown.code}: {shown.stdout}{shown.stderr}")
        if "--help" not in shown.stdout:
            faults.append(f"{verb} --help: names no flag: {shown.stdout}")

    bad = {
        ("nosuch",): "nosuch",
        ("start",): "start|arg|VM",
        ("start", "a", "b"): "start|arg|b",
        ("start", "vm", "--nosuch"): "nosuch",
    }
    for words, named in bad.items():
        refused = commands.virtctl(cluster, *words)
        lines = refused.stderr.strip().splitlines()
        if refused.code != 1 or refused.stdout or len(lines) != 1 or not re.search(named, lines[0]):
            faults.append(f"{words}: exit {refused.code}, stdout {refused.stdout!r}, stderr {refused.stderr!r}")
        if "Traceback" in refused.stderr:
            faults.append(f"{words}: a traceback")
    assert not faults, "\n".join(faults)
