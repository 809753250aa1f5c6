"""migrate and migrate-cancel: a VM to another node, and the change of mind."""

from argparse import Namespace
from typing import Final

from virt.virtctl.errors import CommandError
from virt.virtctl.lifecycle import machine
from virt.virtctl.server import Server

VMIMS: Final = "virtualmachineinstancemigrations"
VMI_LABEL: Final = "kubevirt.io/vmi-name"
_FINAL: Final = ("Succeeded", "Failed")


def migrate(server: Server, given: Namespace) -> int:
    selector = _selector(given.node_selector)
    return machine(server, given, "migrate", "migrating", {"addedNodeSelector": selector} if selector else {})


def cancel(server: Server, given: Namespace) -> int:
    """Deletes the VM's migration that is not over; its guest stays where it is."""
    found = server.read(server.collection(VMIMS, labels=f"{VMI_LABEL}={given.name}"))["items"]
    running = [each for each in found if each.get("status", {}).get("phase") not in _FINAL]
    if not running:
        raise CommandError(f"Found no migration to cancel for {given.name}")
    for each in running:
        server.call("DELETE", server.object(VMIMS, each["metadata"]["name"]))
    print(f"VM {given.name} was scheduled to migrate-cancel")
    return 0


def _selector(pairs: list[str]) -> dict[str, str]:
    found = {}
    for pair in ",".join(pairs).split(",") if pairs else ():
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise CommandError(f"--addedNodeSelector {pair!r} is not KEY=VALUE")
        found[key] = value
    return found
