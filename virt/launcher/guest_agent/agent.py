"""Commands to the guest agent. The protocol: https://www.qemu.org/docs/master/interop/qemu-ga-ref.html"""

import asyncio
import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any

from virt.api import codec
from virt.api.guestos import VirtualMachineInstanceFileSystemInfo, VirtualMachineInstanceGuestAgentInfo
from virt.launcher.guest_agent import answers
from virt.launcher.guest_agent.answers import GuestFacts
from virt.launcher.libvirt_conn import AgentError, Hypervisor

_ANSWER_S = 5
_FREEZE_S = 60                  # a busy guest writes its caches out first
_EXEC_POLL_S = 0.1
_OUTPUT_CHARS = 64 << 10


class ExecTimeout(AgentError):
    """The command did not end in time; it goes on in the guest."""

    code = "Timeout"


class GuestAgent:
    """The agent of one domain. All raise NoAgent or AgentError."""

    def __init__(self, hypervisor: Hypervisor, domain: str) -> None:
        self._hypervisor = hypervisor
        self._domain = domain

    async def _ask(self, command: str, arguments: dict[str, Any] | None = None, timeout_s: int = _ANSWER_S) -> Any:
        document: dict[str, Any] = {"execute": command}
        if arguments:
            document["arguments"] = arguments
        answer = await self._hypervisor.agent_command(self._domain, json.dumps(document), timeout_s=timeout_s)
        try:
            return json.loads(answer).get("return")
        except (ValueError, AttributeError) as error:
            raise AgentError(f"guest agent, {command}: an answer that is no JSON object") from error

    async def _try(self, command: str) -> Any:
        """None for a command that this agent lacks or refuses (most of them while the guest is frozen)."""
        try:
            return await self._ask(command)
        except AgentError:
            return None

    async def facts(self) -> GuestFacts | None:
        """None while the guest's file systems are frozen: the agent then says that it can do next to nothing."""
        version, commands = answers.version_and_commands(await self._ask("guest-info"))
        if await self.is_frozen():          # asked last: frozen in between counts too
            return None
        os = codec.to_json(answers.os_info(await self._try("guest-get-osinfo")))
        interfaces = answers.interfaces(await self._try("guest-network-get-interfaces"))
        enabled = tuple(command.name for command in commands if command.enabled)
        return GuestFacts(version=version, commands=enabled, os=os, interfaces=interfaces)

    async def is_frozen(self) -> bool:
        return bool(await self._try("guest-fsfreeze-status") == "frozen")

    async def everything(self) -> VirtualMachineInstanceGuestAgentInfo:
        version, commands = answers.version_and_commands(await self._ask("guest-info"))
        return VirtualMachineInstanceGuestAgentInfo(
            guest_agent_version=version,
            supported_commands=commands,
            hostname=answers.host_name(await self._try("guest-get-host-name")),
            os=answers.os_info(await self._try("guest-get-osinfo")),
            timezone=answers.time_zone(await self._try("guest-get-timezone")),
            user_list=answers.users(await self._try("guest-get-users")),
            fs_info=VirtualMachineInstanceFileSystemInfo(
                disks=answers.file_systems(await self._try("guest-get-fsinfo"))
            ),
            fs_freeze_status="frozen" if await self.is_frozen() else "",
        )

    async def execute(self, argv: Sequence[str], timeout_s: int) -> dict[str, Any]:
        """{"exitCode", "out", "err"} of a command that ran to its end. Raises ExecTimeout."""
        started = await self._ask(
            "guest-exec", {"path": argv[0], "arg": list(argv[1:]), "capture-output": True}, timeout_s=timeout_s
        )
        pid = started.get("pid") if isinstance(started, dict) else None
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    status = await self._ask("guest-exec-status", {"pid": pid})
                    if not isinstance(status, dict):
                        raise AgentError(f"guest agent, guest-exec-status: {status!r:.100} is no status")
                    if status.get("exited"):
                        break
                    await asyncio.sleep(_EXEC_POLL_S)
        except TimeoutError:
            raise ExecTimeout(f"{argv[0]!r} did not end within {timeout_s} s; it goes on in the guest") from None
        code = status.get("exitcode")
        return {
            # Killed by a signal: as a shell says it.
            "exitCode": code if isinstance(code, int) else 128 + int(status.get("signal") or 0),
            "out": _output(status.get("out-data")),
            "err": _output(status.get("err-data")),
        }

    async def freeze(self) -> None:
        """Freezing a frozen guest is no error."""
        if not await self.is_frozen():
            await self._ask("guest-fsfreeze-freeze", timeout_s=_FREEZE_S)

    async def thaw(self) -> None:
        await self._ask("guest-fsfreeze-thaw", timeout_s=_FREEZE_S)

    async def ping(self, timeout_s: int) -> None:
        await self._ask("guest-ping", timeout_s=timeout_s)


def _output(encoded: object) -> str:
    if not isinstance(encoded, str):
        return ""
    try:
        return base64.b64decode(encoded).decode(errors="replace")[:_OUTPUT_CHARS]
    except binascii.Error:
        return ""
