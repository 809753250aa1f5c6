"""The one door through which ``virt`` starts processes.

Every process has a deadline, closed or given standard input, a small environment of its own and bounded kept output.
Cancellation and the deadline end it the same way: TERM to its whole process group, a grace, KILL, and the child is
always reaped before this module returns. Daemons, which have no deadline, are started and stopped by whoever owns them.
"""

import asyncio
import contextlib
import os
import shlex
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from virt.base.errors import VirtError
from virt.base.processes import Kept, hidden, signal_group

KEPT_BYTES = 256 * 1024       # of each stream; the first half and the last half survive
TERM_GRACE_S = 2.0
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME")


@dataclass(frozen=True)
class Result:
    """How a process ended. ``code`` is negative for a signal (-9: KILL). Output is text, bad bytes replaced."""

    argv: tuple[str, ...]
    code: int
    stdout: str
    stderr: str
    seconds: float


class RunError(VirtError):
    """A process failed, could not be started, or passed its deadline.

    ``result.code`` is 127 where the program could not be started; ``timed_out`` tells the deadline apart from a death
    by signal. The text has the command ready to paste into a shell and the end of its output.
    """

    reference = "process-failed"

    def __init__(self, result: Result, *, timed_out: bool = False, secrets: Sequence[str] = ()) -> None:
        self.result = result
        self.timed_out = timed_out
        how = f"passed its deadline after {result.seconds:.1f} s" if timed_out else f"ended with {result.code}"
        said = (result.stderr.strip() or result.stdout.strip())[-2000:]
        super().__init__(hidden(f"`{shlex.join(result.argv)}` {how}" + (f": {said}" if said else ""), secrets))


async def run(
    argv: Sequence[str],
    *,
    input: str | bytes | None = None,  # noqa: A002  (the name that subprocess gave it)
    deadline_s: float,
    env: Mapping[str, str] | None = None,
    check: bool = True,
    secrets: Sequence[str] = (),
) -> Result:
    """Run a program to its end and return its output.

    ``argv`` is never read by a shell. ``input`` is written to standard input, which is closed otherwise. ``env`` is
    added to the few variables that are passed on. Raises :class:`RunError` when the program cannot be started, passes
    ``deadline_s``, or (with ``check``) ends with another code than 0. Texts in ``secrets`` never reach the error.

    >>> asyncio.run(run(["cat"], input="a line", deadline_s=5)).stdout
    'a line'
    """
    begun = await begin(argv, reads=input is not None, env=env, secrets=secrets)
    return await begun.finish(input, deadline_s=deadline_s, check=check)


@dataclass(frozen=True)
class Begun:
    """A program that was started before its input is known. Whoever began it finishes or abandons it."""

    argv: tuple[str, ...]
    process: asyncio.subprocess.Process
    started: float
    secrets: Sequence[str] = ()

    async def finish(self, input: str | bytes | None, *, deadline_s: float, check: bool = True) -> Result:  # noqa: A002
        """Write the input and wait for the end, as :func:`run` does; the deadline counts from now."""
        process = self.process
        assert process.stdout is not None
        assert process.stderr is not None
        out, err = Kept(KEPT_BYTES), Kept(KEPT_BYTES)
        ended = timed_out = False
        try:
            async with asyncio.timeout(deadline_s):
                await asyncio.gather(_fill(out, process.stdout), _fill(err, process.stderr), _feed(process, input))
                await process.wait()
                ended = True
        except TimeoutError:
            timed_out = True
        finally:
            if not ended:
                await _end(process)
        assert process.returncode is not None
        seconds = time.monotonic() - self.started
        done = Result(self.argv, process.returncode, out.text(), err.text(), seconds)
        if timed_out or (check and done.code != 0):
            raise RunError(done, timed_out=timed_out, secrets=self.secrets)
        return done

    async def abandon(self) -> None:
        """End it without having given it any input."""
        if self.process.returncode is None:
            await _end(self.process)


async def begin(
    argv: Sequence[str], *, reads: bool = True, env: Mapping[str, str] | None = None, secrets: Sequence[str] = ()
) -> Begun:
    """Start a program that waits for its input (``reads``), so that it is ready when the input is.

    Raises :class:`RunError` with code 127 when it cannot be started.
    """
    started = time.monotonic()
    command = tuple(argv)
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE if reads else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=_environment(env),
            start_new_session=True,      # a group of its own, so that its children end with it
        )
    except OSError as error:
        raise RunError(Result(command, 127, "", str(error), time.monotonic() - started), secrets=secrets) from error
    return Begun(command, process, started, secrets)


@dataclass(frozen=True)
class Running:
    """A process that serves until it is told to stop. Whoever started it stops it."""

    argv: tuple[str, ...]
    process: asyncio.subprocess.Process

    async def wait(self) -> int:
        """Its exit code, negative for a signal."""
        return await self.process.wait()

    async def stop(self) -> None:
        """End it and its process group, as :func:`run` does at a deadline; nothing when it has ended by itself."""
        if self.process.returncode is None:
            await _end(self.process)


async def start(argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> Running:
    """Start a program that runs until it is stopped; its output goes where this process's goes.

    Raises :class:`RunError` with code 127 when it cannot be started.
    """
    command = tuple(argv)
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, env=_environment(env), start_new_session=True
        )
    except OSError as error:
        raise RunError(Result(command, 127, "", str(error), 0.0)) from error
    return Running(command, process)


def _environment(extra: Mapping[str, str] | None) -> dict[str, str]:
    return {name: os.environ[name] for name in _INHERITED if name in os.environ} | dict(extra or {})


async def _fill(kept: Kept, stream: asyncio.StreamReader) -> None:
    while chunk := await stream.read(65536):
        kept.add(chunk)


async def _feed(process: asyncio.subprocess.Process, data: str | bytes | None) -> None:
    if process.stdin is None or data is None:
        return
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):   # it may end without reading everything
        process.stdin.write(data.encode() if isinstance(data, str) else data)
        await process.stdin.drain()
        process.stdin.close()


async def _end(process: asyncio.subprocess.Process) -> None:
    """TERM, wait, KILL, and reap; the whole group, since a child may hold the output open after its parent's end."""
    signal_group(process.pid, signal.SIGTERM)
    try:
        async with asyncio.timeout(TERM_GRACE_S):
            await process.wait()
    except TimeoutError:
        pass
    finally:
        # Also on the way out of a second cancellation: nothing of the group may stay.
        signal_group(process.pid, signal.SIGKILL)
    await asyncio.shield(process.wait())
