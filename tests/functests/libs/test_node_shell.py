"""A shell that stays open, spoken to as the engine speaks: frames on a socket. The shell is a real one."""

import contextlib
import select
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from functests.libs import node_shell
from functests.libs.node_shell import Shell, ShellLost
from tests.waits import HANG_S

pytestmark = pytest.mark.runs_processes


class Engine:
    """One exec of ``sh`` as dockerd carries it: raw bytes in; frames out, cut where ``cut`` says."""

    def __init__(self, cut: int = 65536) -> None:
        self.here, self._there = socket.socketpair()
        self._cut = cut
        self.process = subprocess.Popen(
            ["sh"], stdin=self._there.fileno(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0
        )
        self._thread = threading.Thread(target=self._carry)
        self._thread.start()

    def _carry(self) -> None:
        assert self.process.stdout is not None
        while data := self.process.stdout.read(65536):
            frame = struct.pack(">BxxxL", 1, len(data)) + data
            with contextlib.suppress(OSError):          # the shell has been given up
                for at in range(0, len(frame), self._cut):
                    self._there.sendall(frame[at : at + self._cut])
        with contextlib.suppress(OSError):
            self._there.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self._thread.join()
        self.here.close()
        self._there.close()
        if self.process.stdout:
            self.process.stdout.close()


@pytest.fixture(params=[65536, 7], ids=["whole frames", "torn frames"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    made = Engine(request.param)
    yield made
    made.end()


def test_each_script_has_its_status_and_output_and_a_world_of_its_own(engine: Engine) -> None:
    shell = Shell(engine.here)
    assert shell.run("echo one; echo two >&2; exit 3") == (3, "one\ntwo\n")
    assert shell.run("x=5; cd /tmp; printf %s no-newline") == (0, "no-newline")
    assert shell.run("echo \"[$x]\"; pwd") == (0, f"[]\n{subprocess.check_output(['pwd'], text=True)}")
    assert shell.run("cat; echo 'it'\\''s'; exit") == (0, "it's\n"), "standard input is empty, quotes are kept"
    assert shell.is_open()


def test_long_output_is_whole(engine: Engine) -> None:
    code, text = Shell(engine.here).run("seq 1 20000")
    assert (code, text.splitlines()) == (0, [str(number) for number in range(1, 20001)])


def test_a_shell_in_which_something_still_talks_is_not_used_again(engine: Engine, tmp_path: Path) -> None:
    shell, go = Shell(engine.here), tmp_path / "go"
    assert shell.run(f"({until(go)}; echo noise) &") == (0, "")
    go.touch()
    assert select.select([engine.here], [], [], HANG_S)[0]
    assert not shell.is_open()


def test_a_shell_that_was_ended_is_known_before_it_is_used(engine: Engine) -> None:
    shell = Shell(engine.here)
    assert shell.run("true") == (0, "")
    engine.process.kill()
    engine._thread.join()
    assert not shell.is_open()


def test_a_script_whose_shell_ends_says_what_it_said(engine: Engine) -> None:
    shell = Shell(engine.here)
    with pytest.raises(ShellLost, match=r"the shell ended.*last words"):
        shell.run("echo last words; kill -9 $PPID")


def test_a_silent_script_is_given_up(engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(node_shell, "SILENCE_S", 0.1)
    go = tmp_path / "go"
    try:
        with pytest.raises(ShellLost, match="timed out"):
            Shell(engine.here).run(until(go))
    finally:
        go.touch()


def until(file: Path) -> str:
    """A script that waits for the file: what comes when is the test's own choice."""
    return f"until [ -e {file} ]; do sleep 0.02; done"
