"""virtctl as people use it: help, wrong use, and commands against a served virt-api."""

import argparse
import asyncio
import json
import os
import pty
import socket
import sys
import termios
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.virt.apiserver.stand import Stand, handler_pod, running_vmi, stand
from tests.waits import HANG_S
from virt.base import exec as processes
from virt.base.errors import VirtError
from virt.virtctl import console, kubeconfig, lifecycle, main, vnc
from virt.virtctl.console import Ends
from virt.virtctl.errors import CommandError
from virt.virtctl.kubeconfig import Flags
from virt.virtctl.server import Server
from virt.virtctl.version import VERSION


def kubeconfig_of(api: Stand) -> str:
    proxy = api.folder / "proxy"
    document = {
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": api.url, "insecure-skip-tls-verify": True}}],
        "users": [{"name": "c", "user": {"client-certificate": str(proxy / "tls.crt"),
                                         "client-key": str(proxy / "tls.key"), "as": "alice"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c", "namespace": "ns"}}],
    }
    path = api.folder / "config"
    path.write_text(json.dumps(document))
    return str(path)


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Stand]:
    async with stand(tmp_path, handler_pod(), running_vmi()) as served:
        yield served


async def virtctl(api: Stand, *argv: str, keys: bytes = b"") -> processes.Result:
    return await processes.run(
        [sys.executable, "-m", "virt.virtctl.main", *argv], input=keys, deadline_s=HANG_S, check=False,
        env={"KUBECONFIG": kubeconfig_of(api)})


def test_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([], "virtctl") == 0
    text = capsys.readouterr().out
    assert all(verb.name in text for verb in main.VERBS)
    for verb in main.VERBS:
        with pytest.raises(SystemExit) as ended:
            main.run([verb.name, "--help"], "kubectl virt")
        assert ended.value.code == 0
        assert f"usage: kubectl virt {verb.name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "named"),
    [(["nosuch"], "nosuch"), (["start"], "NAME"), (["start", "a", "b"], "b"), (["start", "a", "--nosuch"], "--nosuch"),
     (["pause", "foo", "x"], "foo")],
)
def test_wrong_use_is_one_line_that_names_it(argv: list[str], named: str) -> None:
    with pytest.raises(CommandError) as caught:
        main.run(argv, "virtctl")
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("argv", [
    ["stop", "--grace-period", "0", "--force", "vm1"], ["stop", "vm1", "--force=true", "--grace-period=0"],
    ["--insecure-skip-tls-verify=1", "stop", "--force", "--dry-run=False", "vm1", "--grace-period=0"],
])
def test_a_switch_takes_no_other_word_and_may_say_true_or_false(
    argv: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As to every program in Go; scripts write them so."""
    asked: list[argparse.Namespace] = []

    def stop(_: object, given: argparse.Namespace) -> int:
        asked.append(given)
        return 0

    monkeypatch.setattr(lifecycle, "stop", stop)
    assert main.run(["-s", "http://127.0.0.1:1", *argv], "virtctl") == 0
    (given,) = asked
    assert (given.name, given.force, given.grace_period, given.dry_run) == ("vm1", True, 0, False)


def test_a_switch_that_is_neither_true_nor_false_is_refused() -> None:
    with pytest.raises(CommandError, match="--dry-run=maybe"):
        main.run(["start", "vm1", "--dry-run=maybe"], "virtctl")


@pytest.mark.runs_processes
async def test_actions_and_the_servers_own_words(api: Stand) -> None:
    paused = await virtctl(api, "pause", "vmi", "vm1")
    assert (paused.code, paused.stdout) == (0, "VMI vm1 was scheduled to pause\n")
    dry = await virtctl(api, "reset", "vm1")
    assert dry.code == 0
    assert [call.rpartition("/")[2] for call in api.handler.calls] == ["pause", "reset"]
    missing = await virtctl(api, "start", "nothing")
    assert (missing.code, missing.stdout) == (1, "")
    assert 'virtualmachine.kubevirt.io "nothing" not found' in missing.stderr
    unforced = await virtctl(api, "stop", "vm1", "--grace-period", "0")
    assert unforced.stderr == "Must both use --force=true and set --grace-period.\n"
    version = await virtctl(api, "version", "-o", "json")
    assert json.loads(version.stdout)["serverVersion"]["gitVersion"] == "v1.8.0"


@pytest.mark.runs_processes
async def test_console_through_pipes(api: Stand) -> None:
    ended = await virtctl(api, "console", "vm1", keys=b"end")
    assert (ended.code, ended.stdout) == (0, "bye")
    assert "Successfully connected to vm1 console" in ended.stderr
    assert "disconnected" in ended.stderr
    crashed = await virtctl(api, "console", "vm1", keys=b"crash")
    assert crashed.code == 1


async def test_console_on_a_terminal_ends_with_the_escape_key_and_leaves_it_as_it_was(
    api: Stand
) -> None:
    person, terminal = pty.openpty()
    before = termios.tcgetattr(terminal)
    try:
        server = Server(kubeconfig.load(Flags(kubeconfig=kubeconfig_of(api)), {}))

        async def typed() -> None:
            while termios.tcgetattr(terminal)[3] & termios.ICANON:
                await asyncio.sleep(0.02)                  # until the console has made it raw
            os.write(person, b"\x03echo")
            seen = b""
            while b"\x03echo" not in seen:
                seen += await asyncio.to_thread(os.read, person, 100)
            os.write(person, b"\x1d")

        code, _ = await asyncio.gather(console.connected(server, "vm1", Ends(terminal, terminal), timeout_s=0), typed())
        assert code == 0
        assert termios.tcgetattr(terminal) == before
    finally:
        os.close(terminal)
        os.close(person)


async def test_a_console_that_never_comes_times_out(tmp_path: Path) -> None:
    async with stand(tmp_path, running_vmi(phase="Scheduling")) as api:
        server = Server(kubeconfig.load(Flags(kubeconfig=kubeconfig_of(api)), {}))
        with pytest.raises(CommandError, match="VMI is not running"):
            await console.connected(server, "vm1", Ends(0, 1), timeout_s=0)


async def test_vnc_proxy_says_its_port_and_carries_bytes(api: Stand) -> None:
    server = Server(kubeconfig.load(Flags(kubeconfig=kubeconfig_of(api)), {}))
    port = free_port()
    given = argparse.Namespace(address="127.0.0.1", port=port, proxy_only=True)
    serving = asyncio.create_task(vnc.proxied(server, "vm1", given))
    reader, writer = await connected(port)
    writer.write(b"RFB")
    assert await reader.readexactly(3) == b"RFB"
    writer.write(b"end")
    assert await reader.readexactly(3) == b"bye"
    assert await serving == 0
    writer.close()


@pytest.mark.parametrize(("ends", "expected"), [
    ("exit 3", "ended with 3: no display"), ("exit 0", "no viewer connected within 1 s"),
])
async def test_a_viewer_that_fails_is_told_at_once(
    api: Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: str, expected: str
) -> None:
    server = Server(kubeconfig.load(Flags(kubeconfig=kubeconfig_of(api)), {}))
    program = tmp_path / "remote-viewer"
    program.write_text(f"#!/bin/sh\necho no display >&2\n{ends}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(vnc, "LISTEN_S", 60.0 if "3" in ends else 1.0)
    given = argparse.Namespace(address="127.0.0.1", port=0, proxy_only=False)
    with pytest.raises(VirtError, match=expected):
        await asyncio.wait_for(vnc.proxied(server, "vm1", given), HANG_S)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def connected(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    async with asyncio.timeout(HANG_S):
        while True:
            try:
                return await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)


def test_the_clients_version_is_the_projects() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    assert f"v{project['version']}" == VERSION


def test_what_is_no_api_server_and_what_cannot_be_written_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(kubeconfig.Access("http://web", "ns"))
    monkeypatch.setattr(server, "call", lambda *_: b"<html>hello")
    with pytest.raises(CommandError, match="http://web is no Kubernetes API server: it answered b'<html>hello'"):
        server.read("/version")
    with pytest.raises(CommandError, match=r"cannot write .*/none/x\.png: No such file"):
        vnc.screenshot(server, "vm1", str(tmp_path / "none" / "x.png"))
