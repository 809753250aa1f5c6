"""start, stop, restart, pause, unpause and the like: one request each, and a line that says so."""

from argparse import Namespace
from typing import Any, Final

from virt.virtctl.errors import CommandError, ServerError
from virt.virtctl.server import Server

VM: Final = "virtualmachines"
VMI: Final = "virtualmachineinstances"
DRY_RUN: Final = "Dry Run execution"


def start(server: Server, given: Namespace) -> int:
    body = {"paused": True} if given.paused else {}
    return machine(server, given, "start", "starting", body)


def stop(server: Server, given: Namespace) -> int:
    return machine(server, given, "stop", "stopping", _forced(given, "gracePeriod"))


def restart(server: Server, given: Namespace) -> int:
    return machine(server, given, "restart", "restarting", _forced(given, "gracePeriodSeconds"))


def pause(server: Server, given: Namespace) -> int:
    return _instance(server, given, "pause", "pausing")


def unpause(server: Server, given: Namespace) -> int:
    return _instance(server, given, "unpause", "unpausing")


def soft_reboot(server: Server, given: Namespace) -> int:
    given.kind = "vmi"
    return _instance(server, given, "softreboot", "soft rebooting", said="soft reboot")


def reset(server: Server, given: Namespace) -> int:
    given.kind = "vmi"
    return _instance(server, given, "reset", "resetting")


def guest(server: Server, given: Namespace) -> int:
    """guestosinfo, userlist, fslist: the JSON that came."""
    question = {"fslist": "filesystemlist"}.get(given.verb, given.verb)
    answer = server.call("GET", server.subresource(VMI, given.name, question))
    print(answer.decode().rstrip())
    return 0


def _forced(given: Namespace, field: str) -> dict[str, Any]:
    """Force and a grace period go together."""
    grace: int | None = given.grace_period
    if given.force != (grace is not None) or (grace is not None and grace < 0):
        raise CommandError("Must both use --force=true and set --grace-period.")
    return {} if grace is None else {field: grace}


def machine(server: Server, given: Namespace, action: str, doing: str, body: dict[str, Any]) -> int:
    """An action on a VM that is carried out later."""
    _put(server, given, server.subresource(VM, given.name, action), body, f"Error {doing} VirtualMachine")
    print(f"VM {given.name} was scheduled to {action}")
    return 0


def _instance(server: Server, given: Namespace, action: str, doing: str, said: str = "") -> int:
    """Of a VM it is the instance with its name that is meant."""
    if given.kind == "vm" and _strategy(server.read(server.object(VM, given.name))["spec"]) == "Halted":
        raise CommandError(f"VirtualMachine {given.name} is not set to run")
    _put(server, given, server.subresource(VMI, given.name, action), {},
         f"Error {doing} VirtualMachineInstance {given.name}")
    print(f"VMI {given.name} was scheduled to {said or action}")
    return 0


def _put(server: Server, given: Namespace, path: str, body: dict[str, Any], failed: str) -> None:
    if getattr(given, "dry_run", False):
        print(DRY_RUN)
        body = {**body, "dryRun": ["All"]}
    try:
        server.call("PUT", path, body)
    except ServerError as error:
        raise ServerError(error.code, f"{failed}: {error}") from error


def _strategy(spec: dict[str, Any]) -> str:
    return str(spec.get("runStrategy") or ("Always" if spec.get("running") else "Halted"))
