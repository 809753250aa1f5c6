"""What the guest agent is asked and answers, judged by the guest itself; through the API and the command."""

import json
import time
from typing import Any

import pytest

from functests.libs import build, commands, guest, patience
from functests.libs.cluster import Cluster
from functests.libs.console import Console
from functests.libs.kube import Space
from functests.libs.rest import VMI, subresource_path

MIB = 1 << 20
# What a guest with udev has by its rules: the agent takes serials from udev's records.
_UDEV = (
    "mkdir -p /run/udev/data && "
    'printf \'E:ID_SERIAL=%s\\n\' "$(cat /sys/block/{name}/serial)" > /run/udev/data/b$(cat /sys/block/{name}/dev)'
)


def _ask(space: Space, question: str) -> Any:
    return space.rest.get(subresource_path(VMI, space.name, "vm", question)).ok()


def _words(shell: Console, file: str) -> dict[str, str]:
    """A file of lines NAME=value."""
    lines = (line.partition("=") for line in shell.succeed(f"cat {file}").splitlines())
    return {name: value.strip('"') for name, _, value in lines}


@pytest.mark.case("CLI-016")
@pytest.mark.case("AGT-004")
@pytest.mark.case("AGT-003")
@pytest.mark.case("AGT-002")
def test_the_agents_answers_are_the_guests_own(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a running VMI whose guest runs the agent, with an ext4 disk that has a serial, mounted at /data.
    Steps: guestosinfo and filesystemlist; log in on ttyS0 and out again, userlist each time; the same by virtctl; stop
        the agent and ask by virtctl again.
    Expected: system, kernel, machine, host name, time zone as the guest says them, guest-ping among the commands, the
        same in the status; mount point, type, sizes (1 MiB more or less), serial and bus of /data; the user with the
        time of the login, and nobody afterwards; virtctl prints the same as JSON; without an agent it exits 1 and says
        so.
    """
    manifest = build.with_disk(
        build.kernel_boot_vmi(cluster, "vm"), "data", {"emptyDisk": {"capacity": "64Mi"}}, serial="data-4711"
    )
    _, shell = space.boot(manifest)
    device = guest.disk(shell, "data-4711")
    shell.succeed(f"mke2fs -q -t ext4 {device} && mkdir -p /data && mount {device} /data")
    shell.succeed(_UDEV.format(name=device.rpartition("/")[2]))
    shell.succeed("head -c 5000000 /dev/urandom > /data/file && sync")
    space.wait_condition("vm", "AgentConnected", "True")

    info = _ask(space, "guestosinfo")
    release = _words(shell, "/etc/os-release")
    assert info["os"] == {
        "name": release["NAME"], "id": release["ID"], "prettyName": release["PRETTY_NAME"],
        "version": release["VERSION"], "versionId": release["VERSION_ID"],
        "kernelRelease": shell.succeed("uname -r"), "kernelVersion": shell.succeed("uname -v"),
        "machine": shell.succeed("uname -m"),
    }, info  # fmt: skip
    assert info["hostname"] == shell.succeed("hostname"), info
    assert info["timezone"] == f"{shell.succeed('date +%Z')}, 0", info
    assert {"name": "guest-ping", "enabled": True} in info["supportedCommands"], info["supportedCommands"]
    told = space.wait_vmi("vm", lambda vmi: bool(vmi["status"].get("guestOSInfo")), "knows the guest's system")
    assert told["status"]["guestOSInfo"] == info["os"], told["status"]["guestOSInfo"]

    (system,) = [entry for entry in _ask(space, "filesystemlist")["items"] if entry["mountPoint"] == "/data"]
    blocks, free, available, size = (int(word) for word in shell.succeed("stat -f -c '%b %f %a %S' /data").split())
    assert system["fileSystemType"] == "ext4", system
    assert system["diskName"] == device.rpartition("/")[2], system
    assert abs(system["usedBytes"] - (blocks - free) * size) <= MIB, (system, blocks, free, size)
    assert abs(system["totalBytes"] - (blocks - free + available) * size) <= MIB, (system, blocks, free, available)
    assert system["disk"] == [{"serial": "data-4711", "busType": "virtio"}], system

    assert _ask(space, "userlist")["items"] == []
    shell.succeed("mkdir -p /var/run && touch /var/run/utmp")
    began = time.time()
    shell.send("exec login -f root\n")
    shell.login(within_s=patience.boots(1))
    (user,) = _ask(space, "userlist")["items"]
    skew = int(shell.succeed("date +%s")) - time.time()
    assert user["userName"] == "root", user
    assert began - 5 <= user["loginTime"] - skew <= time.time() + 5, (user, began, skew)

    def virtctl(verb: str) -> Any:
        done = commands.virtctl(cluster, verb, "vm", "-n", space.name)
        assert (done.code, done.stderr) == (0, ""), (verb, done)
        return json.loads(done.stdout)

    assert virtctl("guestosinfo")["hostname"] == info["hostname"]
    assert [entry["userName"] for entry in virtctl("userlist")["items"]] == ["root"]
    by_command = [entry for entry in virtctl("fslist")["items"] if entry["mountPoint"] == "/data"]
    assert [entry["totalBytes"] for entry in by_command] == [system["totalBytes"]], by_command

    shell.send("exit\n")
    shell.login(within_s=patience.boots(1))
    assert _ask(space, "userlist")["items"] == []
    shell.succeed("agent stop")
    space.wait_condition("vm", "AgentConnected", "")
    for verb in ("guestosinfo", "userlist", "fslist"):
        refused = commands.virtctl(cluster, verb, "vm", "-n", space.name)
        assert (refused.code, refused.stdout) == (1, ""), (verb, refused)
        assert "VMI does not have guest agent connected" in refused.stderr, (verb, refused.stderr)
        bare = commands.virtctl(cluster, verb)
        assert bare.code == 1, (verb, bare)
        assert verb in bare.stderr, (verb, bare.stderr)
