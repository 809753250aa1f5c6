"""Whether a killed `up` leaves nothing that the next `up` or `down` cannot handle.

    python -m benchmarks.killed             # a cluster of its own name with one worker; some minutes

Kills `up` with SIGKILL in every step that has to work, each time going on with the next `up`; then interrupts it, and
kills it again while nodes are being made, each time followed by `down`. Prints one JSON object; fails if anything is
left.
"""

import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from cluster_up import exec as host
from cluster_up import paths
from cluster_up.actions import plan
from cluster_up.images import scratch
from virt.base import waiting

_NAME = "killed"
_UP = [sys.executable, "-m", "cluster_up", "up", "--name", _NAME, "--workers", "1"]
_INTERRUPTED = 130


def cluster_up(verb: str) -> int:
    argv = _UP if verb == "up" else [sys.executable, "-m", "cluster_up", verb, "--name", _NAME]
    return host.run(argv, deadline_s=900, check=False).code


def stopped_in(title: str, after_s: float, number: signal.Signals, log: Path) -> int | None:
    """Start `up` and stop it in the step ``title``; its exit status, None when the step had nothing to do."""
    log.write_text("")
    pid = host.start_daemon(_UP, log=log)
    lines = waiting.wait_for(
        lambda: log.read_text().splitlines(), lambda seen: any(line.startswith(f"- {title}") for line in seen),
        deadline_s=600, every_s=0.02, what=f"the step {title}",
    )  # fmt: skip
    works = not any(line.startswith(f"- {title}: already done") for line in lines)
    until = time.monotonic() + (after_s if works else 0)
    waiting.wait_for(time.monotonic, lambda now: now >= until, deadline_s=60, every_s=0.05, what="the moment")
    os.killpg(pid, number if works else signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return status if works else None


def left_over() -> list[str]:
    """What is there of the cluster after `down`, and what is being made by nobody."""
    found = []
    for words in (("ps", "--all", "--format", "{{.Names}}"), ("network", "ls", "--format", "{{.Name}}")):
        names = host.run(["docker", *words], deadline_s=60).stdout.split()
        found += [name for name in names if _NAME in name.split("-") or name.startswith("virt-node-build-")]
    found += [str(left) for left in paths.state_root().glob(f"*{_NAME}*")]
    if scratch.root().exists():
        found += [str(left) for left in scratch.root().iterdir() if not scratch.is_owned(left.name)]
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words_ = process.read_bytes().split(b"\0")
        except OSError:
            continue
        if _NAME.encode() in words_ and b"cluster_up" in words_:
            found.append(f"process {process.parent.name}")
    return found


def main() -> None:
    faults: list[str] = []
    stopped: dict[str, int] = {}
    cluster_up("down")
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "up.log"
        for step in plan.UP:
            status = stopped_in(step.title, 0.7, signal.SIGKILL, log)
            if status is not None:
                stopped[step.name] = status
        for verb in ("up", "status"):
            if (code := cluster_up(verb)) != 0:
                faults.append(f"after all kills `{verb}` ends with {code}")
        cluster_up("down")
        faults += [f"after `down`: {thing}" for thing in left_over()]
        nodes = next(step.title for step in plan.UP if step.name == "cluster")
        for number, after_s in ((signal.SIGINT, 4.0), (signal.SIGKILL, 8.0)):
            status = stopped_in(nodes, after_s, number, log)
            if number is signal.SIGINT and status != _INTERRUPTED:
                faults.append(f"an interrupted `up` ends with {status}")
            if (code := cluster_up("down")) != 0:
                faults.append(f"`down` of a half-made cluster ends with {code}")
            faults += [f"after `down` of a half-made cluster: {thing}" for thing in left_over()]
    print(json.dumps({"benchmark": "killed", "killed_in": sorted(stopped), "faults": faults}))
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
