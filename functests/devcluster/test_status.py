"""What the cluster command says of a cluster that is well, broken, unknown or busy, and what it keeps to itself."""

import fcntl
import json
import os
import re
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import docker
import pytest
import yaml

from cluster_up import state as states
from functests.libs import commands, patience
from functests.libs.cluster import Cluster
from functests.libs.nodes import Nodes
from functests.libs.stack import CONTROLLER, OPERATOR, Stack
from functests.libs.stalls import STALLS
from functests.libs.terminal import Terminal

ESCAPE = b"\x1b"
TIME = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3} "


def _status(name: str, *, within_s: float = 10) -> tuple[int, dict[str, object], str]:
    """Exit status, document and text of both forms; each within the time, without a traceback."""
    as_json = commands.cluster_up("status", "--name", name, "-o", "json")
    as_text = commands.cluster_up("status", "--name", name)
    for done in (as_json, as_text):
        assert done.seconds <= within_s, f"status took {done.seconds:.1f} s"
        assert "Traceback" not in done.stderr, done.stderr
    assert as_json.code == as_text.code, (as_json, as_text)
    return as_json.code, json.loads(as_json.stdout or "{}"), as_text.stdout + as_text.stderr


@pytest.mark.serial
@pytest.mark.case("DEV-003")
def test_status_of_a_cluster_that_is_well_and_of_none(cluster: Cluster, stack: Stack) -> None:
    """
    Preconditions: a cluster that is well; none of another name.
    Steps: status of both, as text and as JSON.
    Expected: exit 0 and healthy; exit 1 and which clusters there are; within 10 s each.
    """
    code, document, text = _status(cluster.name)
    assert (code, document["healthy"], document["faults"]) == (0, True, []), document
    assert f"cluster {cluster.name}: healthy" in text, text
    code, document, text = _status("ft-no-such")
    assert (code, document) == (1, {}), document
    assert "there is no cluster 'ft-no-such'" in text, text
    assert cluster.name in text, text


@pytest.mark.serial
@pytest.mark.disruptive
@pytest.mark.demand(seconds=120)
@pytest.mark.timeout(600)
@pytest.mark.case("DEV-003")
def test_status_of_a_broken_cluster_names_what_is_broken(cluster: Cluster, nodes: Nodes, stack: Stack) -> None:
    """
    Preconditions: a cluster that is well.
    Steps: status while a worker is stopped; while the control plane takes connections and answers none.
    Expected: exit 1 each time; the stopped node is named, and no other; the API server is; within 10 s each, or what a
        slow machine needs for the same of a healthy cluster and 6 s more; the same verdict in both forms; healthy again
        afterwards.
    """
    worker = cluster.workers[-1]
    (control_plane,) = (node for node in nodes if node.name not in cluster.workers + cluster.machines)
    usual_s = commands.cluster_up("status", "--name", cluster.name).seconds
    limit_s = max(10.0, 6 + 3 * usual_s)
    handler = stack.handler(worker)
    with nodes[worker].stopped():
        code, document, text = _status(cluster.name, within_s=limit_s)
        assert (code, document["healthy"]) == (1, False), document
        assert document["faults"] == [f"node {worker}: stopped"], document["faults"]
        assert f"node {worker}: stopped" in text, text
    # For a while the API goes on to call the node and its pods ready.
    stack.wait_restarted(handler, within_s=patience.promised(300))
    stack.wait_well(within_s=patience.promised(300))
    with control_plane.frozen():
        code, document, text = _status(cluster.name, within_s=limit_s)
        assert (code, document["healthy"]) == (1, False), document
        assert "the API server does not answer" in str(document["faults"]), document["faults"]
        assert "broken" in text, text
    thawed = datetime.now(UTC)
    stack.wait_answered()
    for component in (CONTROLLER, OPERATOR):
        stack.wait_led(component, thawed)           # who led has lost its lease meanwhile, and starts anew
    stack.wait_well(within_s=patience.promised(300))
    assert _status(cluster.name, within_s=limit_s)[0] == 0


def _lock(name: str) -> Path:
    return states.file_of(name).parent.parent / f".{name}.lock"


@contextmanager
def _held(name: str) -> Iterator[None]:
    """The cluster's lock, held as a command of this process would."""
    with _lock(name).open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


@pytest.mark.serial
@pytest.mark.case("DEV-011")
def test_one_command_at_a_time_changes_a_cluster(cluster: Cluster, stack: Stack) -> None:
    """
    Preconditions: a cluster that is up with the newest code.
    Steps: sync, up and down while another process holds the cluster's lock; sync with the number of a dead process in
        the lock's file.
    Expected: each exits 1 within 5 s, "busy", with the holder's process id; the last works; the cluster is well.
    """
    up = ("up", "--name", cluster.name, "--workers", str(len(cluster.workers)))
    STALLS.start()
    with _held(cluster.name):
        for words in (("sync", "--name", cluster.name), up, ("down", "--name", cluster.name)):
            began = time.monotonic()
            done = commands.cluster_up(*words)
            assert done.code == 1, (words, done.stderr)
            assert f"busy, held by pid {os.getpid()}" in done.stderr, done.stderr
            assert done.seconds <= 5 + STALLS.since(began), f"{words[0]} took {done.seconds:.1f} s"
    _lock(cluster.name).write_text("4194304")        # above the kernel's largest process id
    done = commands.cluster_up("sync", "--name", cluster.name)
    assert done.code == 0, done.stderr
    assert not stack.faults()


@pytest.mark.serial
@pytest.mark.case("DEV-023")
def test_progress_fits_where_it_is_shown(cluster: Cluster, stack: Stack) -> None:
    """
    Preconditions: a cluster that is up with the newest code.
    Steps: up into a pipe; up on a terminal of 40 columns with LANG=C; up on a terminal with NO_COLOR.
    Expected: the pipe gets plain lines without escape bytes or carriage returns; the terminal a mark for each step; all
        end with the same summary and the kubeconfig; NO_COLOR gives no colour; the log file has lines with times.
    """
    up = ("up", "--name", cluster.name, "--workers", str(len(cluster.workers)))
    assert commands.cluster_up(*up).code == 0, "the newest code is not on the cluster"
    log = states.file_of(cluster.name).parent / "up.log"
    logged = log.stat().st_size
    piped = commands.cluster_up(*up)
    assert piped.code == 0, piped.stderr
    assert ESCAPE.decode() not in piped.stderr, piped.stderr
    assert "\r" not in piped.stderr, piped.stderr
    steps = re.findall(r"^- (.*): already done$", piped.stderr, re.MULTILINE)
    assert len(steps) > 5, piped.stderr
    summary = rf"cluster '{cluster.name}' is up after [\d.]+ \w+"
    export = f"export KUBECONFIG={cluster.kubeconfig}"
    assert re.search(summary, piped.stderr), piped.stderr
    assert export in piped.stderr, piped.stderr
    new = log.read_bytes()[logged:].decode().splitlines()
    assert new
    assert all(re.match(TIME, line) for line in new), new

    argv = [sys.executable, "-m", "cluster_up", *up]
    plain = {**commands.environment(cluster), "TERM": "xterm-256color"}
    for more in ({"LANG": "C", "COLUMNS": "40"}, {"NO_COLOR": "1"}):
        with Terminal(argv, {**plain, **more}) as terminal:
            assert terminal.wait_end(within_s=patience.promised(60)) == 0, terminal.output
            shown = terminal.output.decode(errors="replace")
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).replace("\r", "")
        assert all(f"✓ {step}" in text.replace("\n", " ") for step in steps), shown
        assert re.search(summary, text.replace("\n", " ")), shown
        assert export in text.replace("\n", ""), shown
        if "NO_COLOR" in more:
            assert not re.search(r"\x1b\[[0-9;]*3\dm", shown), shown


@pytest.mark.case("DEV-024")
def test_secrets_stay_with_their_owner(cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a cluster that is up.
    Steps: look at its files, at its logs, at the published ports, at the command lines of this machine.
    Expected: the kubeconfig is its owner's alone; no key or token is in state file, log or any command line; API and
        registry listen on 127.0.0.1 only; every file of the cluster belongs to the caller.
    """
    kubeconfig = cluster.kubeconfig
    assert stat.S_IMODE(kubeconfig.stat().st_mode) == 0o600, oct(kubeconfig.stat().st_mode)
    user = yaml.safe_load(kubeconfig.read_text())["users"][0]["user"]
    secrets = [user[key] for key in ("client-key-data", "token") if user.get(key)]
    assert secrets, list(user)
    folder = states.file_of(cluster.name).parent
    public = [folder / "state.json", *folder.glob("*.log")]
    assert len(public) > 1, public
    told = {file.name: file.read_text(errors="replace") for file in public}
    told |= {f"process {path.parent.name}": _text(path) for path in Path("/proc").glob("[0-9]*/cmdline")}
    leaks = [
        name for name, text in told.items() if "PRIVATE KEY" in text or any(secret in text for secret in secrets)
    ]
    assert not leaks, leaks

    (control_plane,) = (node for node in nodes if node.name not in cluster.workers + cluster.machines)
    registry = docker.from_env().containers.get(f"virt-{cluster.name}-registry").attrs["NetworkSettings"]["Ports"]
    addresses = control_plane.addresses()
    addresses += [entry["HostIp"] for entries in registry.values() for entry in entries or []]
    assert set(addresses) == {"127.0.0.1"}, addresses
    assert len(addresses) >= 2, addresses
    foreign = [str(path) for path in (folder, *folder.glob("*")) if path.stat().st_uid != os.getuid()]
    assert not foreign, foreign


def _text(path: Path) -> str:
    """Of a file of /proc, which may be gone by now."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
