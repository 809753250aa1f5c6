"""CI's entry, with a make that only says what it was asked for."""

import os
import shutil
from pathlib import Path

import pytest

from cluster_up import exec as host

ROOT = Path(__file__).parents[2]
MAKE = """#!/bin/sh
for target in "$@"; do :; done
echo "$target" >> asked
echo "= the end of $target ="
exit $(cat "$target.status" 2>/dev/null || echo 0)
"""


@pytest.mark.runs_processes
@pytest.mark.parametrize(
    ("status", "asked"), [(0, ["test", "cluster-down"]), (2, ["test", "cluster-logs", "cluster-down"])]
)
def test_the_logs_of_a_cluster_that_failed_are_collected_before_it_goes(
    tmp_path: Path, status: int, asked: list[str]
) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci")
    make = tmp_path / "bin" / "make"
    make.parent.mkdir()
    make.write_text(MAKE)
    make.chmod(0o755)
    (tmp_path / "test.status").write_text(str(status))
    (tmp_path / "cluster-logs.status").write_text("1")          # there may be no cluster yet
    host.run(["git", "init", "-q"], deadline_s=30, cwd=tmp_path)
    who = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    host.run(["git", *who, "commit", "-q", "--allow-empty", "-m", "x"], deadline_s=30, cwd=tmp_path)
    env = {"PATH": f"{make.parent}{os.pathsep}{os.environ['PATH']}"}
    done = host.run([".ci/run"], deadline_s=60, cwd=tmp_path, env=env, check=False)
    assert done.code == status, done.stderr
    assert (tmp_path / "asked").read_text().split() == asked
    assert done.stdout.splitlines()[-1] == "= the end of test ="
