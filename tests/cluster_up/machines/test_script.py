"""Scripts for the shell of a machine: run by a real shell here, over a pipe."""

import subprocess

import pytest

from cluster_up.machines.script import framed, read


def ran(script: str) -> tuple[int, str]:
    said = subprocess.run(["sh"], input=framed(script, "MARK"), capture_output=True, text=True, timeout=20).stdout
    return read(said, "MARK")


@pytest.mark.parametrize(("script", "code", "output"), [
    ("echo hello", 0, "hello\n"),
    ("printf 'no newline'", 0, "no newline"),
    ("echo out; echo err >&2; exit 3", 3, "out\nerr\n"),
    ("false; echo not reached", 1, ""),
    ("cat; echo end", 0, "end\n"),                                   # nothing is on its standard input
    ("echo \"it's\" '$HOME' `echo x`\n# comment\necho MARK 7", 0, "it's $HOME x\nMARK 7\n"),
])  # fmt: skip
def test_output_and_status_come_back(script: str, code: int, output: str) -> None:
    assert ran(script) == (code, output)


@pytest.mark.parametrize("said", ["", "sh: not found\n", "MARK\nhalf an out"])
def test_a_stream_that_ends_early_is_told(said: str) -> None:
    assert read(said, "MARK")[0] == 255
