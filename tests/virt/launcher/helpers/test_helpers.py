"""The static programs, compiled and run."""

import asyncio
import fcntl
import json
import os
import shutil
import signal
import socket
from pathlib import Path

import pytest

from tests.waits import HANG_S, until
from virt.base import exec as process
from virt.base.waiting import wait_for_async

SOURCES = Path(__file__).parents[4] / "virt/launcher/helpers"
pytestmark = [
    pytest.mark.runs_processes,
    pytest.mark.skipif(shutil.which("gcc") is None, reason="no C compiler"),
]


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("helpers")

    async def build() -> None:
        for source in SOURCES.glob("*.c"):
            await process.run(
                ["gcc", "-static", "-Wall", "-Wextra", "-Werror", "-o", str(folder / source.stem), str(source)],
                deadline_s=60,
            )

    asyncio.run(build())
    return folder


async def ask(path: Path) -> tuple[socket.socket, list[dict[str, object]], list[int]]:
    """The connection, the lines of the answer, and the descriptors."""

    connection = socket.socket(socket.AF_UNIX)

    async def refusal() -> int:
        return connection.connect_ex(str(path))         # the file is there a moment before anybody listens

    await wait_for_async(refusal, lambda code: code == 0, deadline_s=HANG_S, every_s=0.01)
    text, fds, _flags, _address = socket.recv_fds(connection, 16384, 4)
    return connection, [json.loads(line) for line in text.splitlines()], fds


async def offered(programs: Path, tmp_path: Path, *options: str) -> tuple[list[dict[str, object]], list[int]]:
    running = await process.start([str(programs / "container-disk"), "--socket", str(tmp_path / "s"), *options])
    try:
        connection, lines, fds = await ask(tmp_path / "s")
        connection.close()
        return lines, fds
    finally:
        await running.stop()


async def test_a_file_is_passed_with_what_it_is(programs: Path, tmp_path: Path) -> None:
    (tmp_path / 'a "b".img').write_bytes(b"content")
    lines, fds = await offered(programs, tmp_path, "--path", str(tmp_path / 'a "b".img'))
    assert lines[0] | {"mode": 0} == {
        "role": "disk", "path": str(tmp_path / 'a "b".img'), "size": 7, "mode": 0, "uid": os.getuid(),
    }  # fmt: skip
    assert os.pread(fds[0], 10, 0) == b"content"
    assert fcntl.fcntl(fds[0], fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
    os.close(fds[0])


async def test_kernel_and_initrd_come_in_that_order(programs: Path, tmp_path: Path) -> None:
    for name in ("vmlinuz", "initrd"):
        (tmp_path / name).write_text(name)
    lines, fds = await offered(
        programs, tmp_path, "--initrd", str(tmp_path / "initrd"), "--kernel", str(tmp_path / "vmlinuz")
    )
    assert [line["role"] for line in lines] == ["kernel", "initrd"]
    assert [os.pread(fd, 10, 0) for fd in fds] == [b"vmlinuz", b"initrd"]
    for fd in fds:
        os.close(fd)


@pytest.mark.parametrize("case", ["link", "folder link", "pipe", "folder", "empty", "missing", "parent"])
async def test_what_is_no_plain_file_is_refused(programs: Path, tmp_path: Path, case: str) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/file").write_text("secret")
    path = tmp_path / "disk.img"
    match case:
        case "link":
            path.symlink_to("real/file")
        case "folder link":
            (tmp_path / "folder").symlink_to("real")
            path = tmp_path / "folder/file"
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "empty":
            path.touch()
        case "parent":
            path = tmp_path / "real/../real/file"
    lines, fds = await offered(programs, tmp_path, "--path", str(path))
    assert fds == []
    assert list(lines[0]) == ["error"]


@pytest.mark.skipif(os.getuid() != 0, reason="a root of its own needs root")
@pytest.mark.parametrize(
    ("names", "says"), [(["a.img"], "a.img"), (["a.img", "b.img"], "more than one file"), ([], "no file found")]
)
async def test_the_one_file_under_disk(programs: Path, tmp_path: Path, names: list[str], says: str) -> None:
    (tmp_path / "disk").mkdir()
    for name in names:
        (tmp_path / "disk" / name).write_text("x")
    shutil.copy(programs / "container-disk", tmp_path)
    running = await process.start(["chroot", str(tmp_path), "/container-disk", "--socket", "/s"])
    connection, lines, fds = await ask(tmp_path / "s")
    connection.close()
    await running.stop()
    assert says in str(lines[0])
    assert len(fds) == (1 if len(names) == 1 else 0)


async def test_the_helper_ends_with_the_connection_that_holds_it(programs: Path, tmp_path: Path) -> None:
    (tmp_path / "disk.img").write_text("x")
    running = await process.start(
        [str(programs / "container-disk"), "--socket", str(tmp_path / "s"), "--path", str(tmp_path / "disk.img")]
    )
    passing, _lines, _fds = await ask(tmp_path / "s")
    passing.close()
    holding, _lines, _fds = await ask(tmp_path / "s")
    holding.send(b"h")
    await asyncio.sleep(0.05)
    assert running.process.returncode is None
    holding.close()
    assert await asyncio.wait_for(running.wait(), HANG_S) == 0


async def test_the_log_reader_follows_a_rotated_log_until_the_lock_is_free(programs: Path, tmp_path: Path) -> None:
    log, lock = tmp_path / "log", tmp_path / "alive"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        said = tmp_path / "said"
        said.touch()
        reading = asyncio.create_task(
            process.run(["sh", "-c", f"exec {programs}/log-tail {log} {lock} > {said}"], deadline_s=HANG_S)
        )
        log.write_text("one\n")
        await until(lambda: said.read_text() == "one\n")
        with log.open("a") as file:
            file.write("two\n")
        log.rename(tmp_path / "log.0")
        log.write_text("three\n")
        await until(lambda: said.read_text() == "one\ntwo\nthree\n")
        with log.open("a") as file:
            file.write("last\n")
    await reading
    assert said.read_text() == "one\ntwo\nthree\nlast\n"


async def test_the_parent_reaps_orphans_and_ends_as_its_child_does(programs: Path) -> None:
    init = str(programs / "launcher-init")
    orphan = "(sleep 0.05 &) ; sleep 0.3; ps -o stat= --ppid $PPID | grep -c Z; exit 7"
    done = await process.run([init, "sh", "-c", orphan], deadline_s=HANG_S, check=False)
    assert (done.code, done.stdout.strip()) == (7, "0")
    killed = await process.run([init, "sh", "-c", "kill -9 $$"], deadline_s=HANG_S, check=False)
    assert killed.code == 128 + signal.SIGKILL


async def test_the_parent_passes_signals_on(programs: Path, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    script = f"trap 'exit 5' TERM; : > {ready}; while :; do sleep 0.05; done"
    running = await process.start([str(programs / "launcher-init"), "sh", "-c", script])
    await until(ready.exists)
    running.process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(running.wait(), HANG_S) == 5


@pytest.mark.parametrize(("options", "words"), [
    (("--guestAgentPing",), b"60\0ping\0"),
    (("--command", "test", "--", "-f", "a b"), b"60\0exec\0test\0-f\0a b\0"),
    (("--command", "true"), b"60\0exec\0true\0"),
])
async def test_a_probe_passes_its_words_and_takes_the_answer(
    programs: Path, tmp_path: Path, options: tuple[str, ...], words: bytes
) -> None:
    heard: list[bytes] = []

    async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read())
        writer.write(b"5\nnot ready")
        writer.close()

    os.chdir(tmp_path)                  # a socket's path is short
    server = await asyncio.start_unix_server(met, "s")
    async with server:
        done = await process.run(
            [str(programs / "virt-probe"), "--socket", "s", "--timeoutSeconds", "60", *options], deadline_s=HANG_S,
            check=False,
        )  # fmt: skip
    assert (heard, done.code, done.stdout) == ([words], 5, "not ready")


@pytest.mark.parametrize("options", [
    (), ("--guestAgentPing", "--command", "true"), ("--nonsense", "x"), ("--socket",),
])
async def test_a_probe_refuses_what_it_does_not_know(programs: Path, options: tuple[str, ...]) -> None:
    done = await process.run(
        [str(programs / "virt-probe"), "--socket", "/nonexistent", *options], deadline_s=HANG_S, check=False
    )
    assert (done.code, done.stderr[:6]) == (2, "usage:")
