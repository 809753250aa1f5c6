"""The one door for processes: output, deadlines, and that nothing stays behind."""

import errno
import time
from pathlib import Path

import pytest

from cluster_up import exec as host
from cluster_up.exec import RunError, run
from tests.waits import HANG_S

pytestmark = pytest.mark.runs_processes


def is_alive(pid: int) -> bool:
    """A killed orphan may stay a zombie until the machine's first process reaps it."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] not in "ZX"


def test_output_and_code_come_back() -> None:
    result = run(["sh", "-c", "echo out; echo err >&2; exit 3"], deadline_s=HANG_S, check=False)
    assert (result.code, result.stdout, result.stderr) == (3, "out\n", "err\n")


def test_input_is_written_and_closed() -> None:
    assert run(["cat"], input="text", deadline_s=HANG_S).stdout == "text"


def test_a_program_that_reads_nothing_may_get_much_input() -> None:
    assert run(["true"], input=b"x" * 1_000_000, deadline_s=HANG_S).code == 0


def test_failure_names_command_place_code_and_output_without_the_secret(tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught:
        run(["sh", "-c", "echo no key hunter2 >&2; exit 7"], deadline_s=HANG_S, cwd=tmp_path, secrets=["hunter2"])
    text = str(caught.value)
    assert "ended with 7" in text
    assert "no key ***" in text
    assert str(tmp_path) in text
    assert "hunter2" not in text


def test_a_missing_program_is_a_run_error() -> None:
    with pytest.raises(RunError) as caught:
        run(["/nonexistent/program"], deadline_s=HANG_S)
    assert caught.value.result.code == 127


def test_the_deadline_ends_the_whole_group() -> None:
    for deadline_s in (0.5, 5, 30):
        started = time.monotonic()
        with pytest.raises(RunError) as caught:
            run(["sh", "-c", "sleep 300 & echo $!; wait"], deadline_s=deadline_s)
        assert caught.value.timed_out
        assert time.monotonic() - started < 100
        if caught.value.result.stdout:
            break                           # else the machine was so slow that the program had not begun
    child = int(caught.value.result.stdout)
    assert not is_alive(child)


def test_lines_come_as_they_are_written() -> None:
    lines: list[str] = []
    run(["sh", "-c", "echo one; echo two >&2"], deadline_s=HANG_S, on_line=lines.append)
    assert sorted(lines) == ["one", "two"]


def test_a_log_that_takes_no_more_holds_up_no_program() -> None:
    lines: list[str] = []

    def full(line: str) -> None:
        lines.append(line)
        raise OSError(errno.ENOSPC, "No space left on device")

    more_than_a_pipe_holds = 1 << 20
    result = run(
        ["sh", "-c", f"echo first; head -c {more_than_a_pipe_holds} /dev/zero; echo last"], deadline_s=HANG_S,
        on_line=full)
    assert lines == ["first"]
    assert result.stdout.endswith("last\n")


def test_much_output_keeps_its_head_and_its_tail() -> None:
    size = host.KEPT_BYTES * 2
    script = f"echo first; head -c {size} /dev/zero | tr '\\0' '\\n'; echo last"
    text = run(["sh", "-c", script], deadline_s=HANG_S).stdout
    assert text.startswith("first\n")
    assert text.endswith("last\n")
    assert "bytes left out" in text
    assert len(text) < host.KEPT_BYTES + 100
