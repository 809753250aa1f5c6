import gc
import os
import socket
from pathlib import Path

import pytest

from virt.handler.launchers.process import (
    UnknownProcessError,
    family,
    identify,
    open_in_pod,
    parent,
    pod_of,
    pods_with_processes,
)

UID = "0b8b2a3c-5f0e-4a5b-9d0c-1f2e3d4c5b6a"


def proc(folder: Path, cgroup: str) -> Path:
    """A /proc that has this process only."""
    own = folder / str(os.getpid())
    (own / "ns").mkdir(parents=True)
    (own / "cgroup").write_text(cgroup)
    (own / "ns" / "net").write_text("")
    (folder / "self").mkdir()
    return folder


def test_a_peer_is_known_by_its_cgroup_and_not_by_its_words(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        process = identify(ours, proc(tmp_path, f"0::/kubepods/pod{UID}/a\n"))
        try:
            assert (process.pid, process.pod_uid, process.is_alive) == (os.getpid(), UID, True)
        finally:
            process.close()
    assert pods_with_processes(tmp_path) == {UID}


def test_nothing_of_a_process_stays_open(tmp_path: Path) -> None:
    """An open network namespace would keep the pod's tap and bridge."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        process = identify(ours, proc(tmp_path, f"0::/kubepods/pod{UID}/a\n"))
        for fd in (process.netns, process.death):
            os.fstat(fd)
        process.close()
        for fd in (process.netns, process.death):
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(fd)


def test_a_peer_without_a_pod_or_gone_is_refused(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    gc.collect()            # what other tests have left open goes now, or never while this one counts
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  (the descriptors themselves are what is counted)
    with ours:
        with pytest.raises(UnknownProcessError, match="belongs to no pod"):
            identify(ours, proc(tmp_path / "a", "0::/user.slice\n"))
        theirs.close()
        with pytest.raises(UnknownProcessError, match="went away"):
            identify(ours, proc(tmp_path / "b", f"0::/kubepods/pod{UID}/a\n"))
        with pytest.raises(UnknownProcessError, match="cannot be looked at"):
            identify(ours, tmp_path / "nothing")
        assert len(os.listdir("/proc/self/fd")) <= before - 1  # noqa: PTH208


def test_a_family_is_found_by_all_threads(tmp_path: Path) -> None:
    """10 -> 11 (a thread of 10 started it) -> 12."""
    for pid, threads in ((10, {10: "", 15: "11 13"}), (11, {11: "12"}), (12, {12: ""})):
        for thread, children in threads.items():
            task = tmp_path / str(pid) / "task" / str(thread)
            task.mkdir(parents=True)
            (task / "children").write_text(children)
    assert family(10, tmp_path) == (10, 11, 13, 12)


def test_parent_and_pod_of_a_process(tmp_path: Path) -> None:
    (tmp_path / "10").mkdir()
    (tmp_path / "10" / "stat").write_text("10 (a) S 3 (b) S 7 10 10 0 -1\n")
    (tmp_path / "10" / "cgroup").write_text(f"0::/kubepods/pod{UID}/a\n")
    assert (parent(10, tmp_path), pod_of(10, tmp_path)) == (7, UID)
    assert parent(os.getpid()) == os.getppid()
    assert pod_of(11, tmp_path) is None
    with pytest.raises(FileNotFoundError):
        parent(11, tmp_path)


def container(folder: Path, pid: int, uid: str) -> Path:
    """The root of a process's container, in a /proc of paper."""
    own = folder / str(pid)
    (own / "root").mkdir(parents=True)
    (own / "cgroup").write_text(f"0::/kubepods/pod{uid}/a\n")
    return own / "root"


def test_a_folder_of_a_pod_is_opened_in_the_container_that_has_it(tmp_path: Path) -> None:
    other = container(tmp_path, 3, "99999999-5f0e-4a5b-9d0c-1f2e3d4c5b6a") / "hotplug" / "data"
    other.mkdir(parents=True)
    container(tmp_path, 1, UID)                     # the pause container
    ours = container(tmp_path, 2, UID) / "hotplug" / "data"
    ours.mkdir(parents=True)
    (ours / "disk.img").write_text("ours")
    opened = open_in_pod(UID, ("hotplug", "data"), tmp_path)
    try:
        assert os.read(os.open("disk.img", os.O_RDONLY, dir_fd=opened), 9) == b"ours"
    finally:
        os.close(opened)


def test_no_link_leads_out_of_a_pod(tmp_path: Path) -> None:
    (tmp_path / "node" / "data").mkdir(parents=True)
    root = container(tmp_path, 1, UID)
    (root / "hotplug").symlink_to(tmp_path / "node")
    (root / "real").mkdir()
    (root / "real" / "data").symlink_to(tmp_path / "node" / "data")
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for path in (("hotplug", "data"), ("real", "data")):
        with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
            open_in_pod(UID, path, tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_a_folder_that_no_container_has_is_named(tmp_path: Path) -> None:
    container(tmp_path, 1, UID)
    with pytest.raises(FileNotFoundError, match="/hotplug/data"):
        open_in_pod(UID, ("hotplug", "data"), tmp_path)
