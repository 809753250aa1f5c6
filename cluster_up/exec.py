"""The one door through which ``cluster_up`` and the functional tests start processes.

Every process has a deadline, closed or given standard input and bounded kept output. The deadline, Ctrl-C and any other
exception end it the same way: TERM to its whole process group, a grace, KILL, and the child is always reaped before
``run`` returns. When this process itself is killed, the kernel kills the child.
"""

import contextlib
import ctypes
import os
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from cluster_up.errors import ClusterError
from virt.base.processes import Kept, hidden, signal_group

KEPT_BYTES = 4 * 1024 * 1024     # of each stream: the first half and the last half survive
TERM_GRACE_S = 3.0
Log = Callable[[str], None]      # takes a line for people
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)        # loaded here: the child of a fork may not


@dataclass(frozen=True)
class Result:
    """How a process ended. ``code`` is negative for a signal (-9: KILL). Output is text, bad bytes replaced."""

    argv: tuple[str, ...]
    where: str
    code: int
    stdout: str
    stderr: str
    seconds: float


class RunError(ClusterError):
    """A process failed, could not be started (code 127), or passed its deadline (``timed_out``).

    The text has the command ready to paste into a shell, where it ran, and the end of its output.
    """

    reference = "process-failed"
    hint = "paste the command into a shell to see it fail"

    def __init__(self, result: Result, *, timed_out: bool = False, secrets: Sequence[str] = ()) -> None:
        self.result = result
        self.timed_out = timed_out
        how = f"passed its deadline after {result.seconds:.1f} s" if timed_out else f"ended with {result.code}"
        said = (result.stderr.strip() or result.stdout.strip())[-3000:]
        text = f"`{shlex.join(result.argv)}` (in {result.where}) {how}" + (f":\n{said}" if said else "")
        super().__init__(hidden(text, secrets))


def run(
    argv: Sequence[str | Path],
    *,
    deadline_s: float,
    input: str | bytes | None = None,  # noqa: A002 - the name that subprocess gave it
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    check: bool = True,
    on_line: Log | None = None,
    secrets: Sequence[str] = (),
) -> Result:
    """Run a program to its end and return its output. ``argv`` is never read by a shell.

    ``env`` is added to this process's own. ``on_line`` gets each line of either stream as it comes, from a thread.
    Raises :class:`RunError` when the program cannot be started, passes ``deadline_s``, or (with ``check``) ends with
    another code than 0. Texts in ``secrets`` never reach the error.

    >>> run(["cat"], input="a line", deadline_s=5).stdout
    'a line'
    """
    command = tuple(str(word) for word in argv)
    where = str(cwd or Path.cwd())
    started = time.monotonic()

    def result(code: int, stdout: str = "", stderr: str = "") -> Result:
        return Result(command, where, code, stdout, stderr, time.monotonic() - started)

    try:
        process = _started(command, reads=input is not None, cwd=cwd, env=env or {})
    except OSError as error:
        raise RunError(result(127, stderr=str(error)), secrets=secrets) from error

    assert process.stdout is not None
    assert process.stderr is not None
    out, err = Kept(KEPT_BYTES), Kept(KEPT_BYTES)
    threads = [
        threading.Thread(target=_fill, args=(kept, stream, on_line), daemon=True)
        for kept, stream in ((out, process.stdout), (err, process.stderr))
    ]
    threads.append(threading.Thread(target=_feed, args=(process, input), daemon=True))
    for thread in threads:
        thread.start()
    timed_out = False
    try:
        timed_out = not _ends(process, threads, started + deadline_s)
    finally:
        if timed_out or process.poll() is None:
            _end(process)
        for thread in threads:
            thread.join(1.0)
    done = result(process.returncode, out.text(), err.text())
    if timed_out or (check and done.code != 0):
        raise RunError(done, timed_out=timed_out, secrets=secrets)
    return done


def _started(
    command: Sequence[str], *, reads: bool, cwd: Path | None, env: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Raises OSError when it cannot be started."""
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE if reads else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd,
        env={**os.environ, **env},
        start_new_session=True,      # a group of its own, so that its children end with it
        preexec_fn=_die_with_parent,
    )


def _ends(process: subprocess.Popen[bytes], threads: Sequence[threading.Thread], deadline: float) -> bool:
    """Whether it and its output end before ``deadline`` (monotonic): a grandchild may hold the output open."""
    try:
        process.wait(timeout=max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return not any(thread.is_alive() for thread in threads)


def _die_with_parent() -> None:
    """Runs in the child: a program must not go on working for a command that was killed."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def start_daemon(argv: Sequence[str | Path], *, log: Path) -> int:
    """Start a program that outlives this one, in a session of its own; returns its process id.

    Its output is appended to ``log``. Raises :class:`RunError` when it cannot be started.
    """
    command = tuple(str(word) for word in argv)
    try:
        with log.open("ab") as output:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            ).pid
    except OSError as error:
        raise RunError(Result(command, str(Path.cwd()), 127, "", str(error), 0.0)) from error


def found(program: str) -> str | None:
    """Path of a program in PATH, or where Debian puts what only root uses; None where it is not installed."""
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def attach(argv: Sequence[str | Path]) -> int:
    """Run a program on this process's own terminal, for as long as the person likes; returns its exit code."""
    return subprocess.call([str(word) for word in argv])


def _fill(kept: Kept, stream: IO[bytes], on_line: Log | None) -> None:
    for line in stream:
        kept.add(line)
        if on_line is not None:
            try:
                on_line(line.decode(errors="replace").rstrip())
            except OSError:
                on_line = None          # its file's disk is full: unread, the output would hold the program up for ever


def _feed(process: subprocess.Popen[bytes], data: str | bytes | None) -> None:
    if process.stdin is None or data is None:
        return
    with contextlib.suppress(BrokenPipeError), process.stdin:      # it may end without reading everything
        process.stdin.write(data.encode() if isinstance(data, str) else data)


def _end(process: subprocess.Popen[bytes]) -> None:
    """TERM, wait, KILL, and reap; the whole group, since a child may hold the output open after its parent's end."""
    signal_group(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=TERM_GRACE_S)
    signal_group(process.pid, signal.SIGKILL)
    process.wait()
