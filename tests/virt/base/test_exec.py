"""The one door for processes: output, deadlines, and that nothing stays behind."""

import asyncio
import os
from pathlib import Path

import pytest

from tests.waits import HANG_S
from virt.base import exec as virt_exec
from virt.base.exec import RunError, run

pytestmark = pytest.mark.runs_processes


async def test_output_and_code_come_back() -> None:
    result = await run(["sh", "-c", "echo out; echo err >&2; exit 3"], deadline_s=HANG_S, check=False)
    assert (result.code, result.stdout, result.stderr) == (3, "out\n", "err\n")


async def test_input_is_written_and_closed() -> None:
    assert (await run(["cat"], input="text", deadline_s=HANG_S)).stdout == "text"


async def test_a_program_that_reads_nothing_may_get_much_input() -> None:
    assert (await run(["true"], input=b"x" * 1_000_000, deadline_s=HANG_S)).code == 0


async def test_failure_names_command_code_and_output_without_the_secret() -> None:
    with pytest.raises(RunError) as caught:
        await run(["sh", "-c", "echo no such key hunter2 >&2; exit 7"], deadline_s=HANG_S, secrets=["hunter2"])
    assert "ended with 7" in str(caught.value)
    assert "no such key ***" in str(caught.value)
    assert "hunter2" not in str(caught.value)


async def test_missing_program_is_a_run_error() -> None:
    with pytest.raises(RunError) as caught:
        await run(["/nonexistent/program"], deadline_s=HANG_S)
    assert caught.value.result.code == 127


async def test_deadline_kills_a_program_that_ignores_term_and_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(virt_exec, "TERM_GRACE_S", 0.2)
    pids = tmp_path / "pids"
    script = f"trap '' TERM; sleep 60 & echo $$ $! > {pids}; while :; do sleep 60; done"
    for deadline_s in (0.5, 5, 30):
        with pytest.raises(RunError) as caught:
            await run(["sh", "-c", script], deadline_s=deadline_s)
        assert caught.value.timed_out
        if pids.exists() and pids.read_text():
            break                           # else the machine was so slow that the program had not begun
    for pid in pids.read_text().split():
        assert await _is_gone(int(pid)), f"process {pid} is still there"


async def test_cancellation_ends_the_process(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    task = asyncio.create_task(run(["sh", "-c", f"echo $$ > {pid_file}; exec sleep 60"], deadline_s=60))
    while not (pid_file.exists() and pid_file.read_text().strip()):
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await _is_gone(int(pid_file.read_text()))


async def test_environment_is_small_and_extended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_PARENT", "x")
    out = (await run(["env"], deadline_s=HANG_S, env={"GIVEN": "y"})).stdout
    assert "GIVEN=y" in out
    assert "SECRET_OF_THE_PARENT" not in out


async def test_long_output_keeps_head_and_tail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virt_exec, "KEPT_BYTES", 200)
    out = (await run(["sh", "-c", "echo first; yes | head -c 100000; echo last"], deadline_s=HANG_S)).stdout
    assert out.startswith("first")
    assert out.endswith("last\n")
    assert "bytes left out" in out
    assert len(out) < 300


async def _is_gone(pid: int) -> bool:
    """Whether the process is gone or a zombie of somebody else, within seconds."""
    for _ in range(1000):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z" and pid != os.getpid():
            return True
        await asyncio.sleep(0.01)
    return False
