"""addvolume and removevolume: a claim into a running guest as a disk, and out again."""

from argparse import Namespace
from typing import Any, Final

from virt.virtctl.errors import CommandError, ServerError
from virt.virtctl.lifecycle import DRY_RUN, VM, VMI
from virt.virtctl.server import Server

_BUSES: Final = ("scsi", "virtio")
_FORBIDDEN, _NOT_FOUND = 403, 404


def add(server: Server, given: Namespace) -> int:
    name = _volume_name(given)
    if given.bus not in _BUSES:
        raise CommandError(f"--bus {given.bus!r} is none of {', '.join(_BUSES)}")
    if given.disk_type == "lun" and given.bus != "scsi":
        raise CommandError(f"--disk-type lun needs --bus scsi, not {given.bus!r}")
    _look_for(server, name)
    disk: dict[str, Any] = {given.disk_type: {"bus": given.bus}, "serial": given.serial or name}
    if given.cache:
        disk["cache"] = given.cache
    source = {"persistentVolumeClaim": {"claimName": name, "hotpluggable": True}}
    _put(server, given, "addvolume", {"name": name, "disk": {"name": name, **disk}, "volumeSource": source},
         "error adding volume")
    print(f"Successfully submitted add volume request to VM {given.name} for volume {name}")
    return 0


def remove(server: Server, given: Namespace) -> int:
    name = _volume_name(given)
    _put(server, given, "removevolume", {"name": name}, "error removing volume")
    print(f"Successfully submitted remove volume request to VM {given.name} for volume {name}")
    return 0


def _volume_name(given: Namespace) -> str:
    if not given.volume_name:
        raise CommandError('required flag(s) "volume-name" not set')
    return str(given.volume_name)


def _look_for(server: Server, claim: str) -> None:
    """The server takes a name that no claim has, and waits for the claim; whoever types one has mistyped it."""
    try:
        server.read(server.core("persistentvolumeclaims", claim))
    except ServerError as error:
        if error.code == _NOT_FOUND:
            raise CommandError(
                f"error adding volume, Volume {claim} is not a PersistentVolumeClaim of namespace {server.namespace}"
            ) from error
        if error.code != _FORBIDDEN:            # who may not look may ask all the same
            raise


def _put(server: Server, given: Namespace, action: str, body: dict[str, Any], failed: str) -> None:
    """To the VM, whose guest follows; to the instance where no VM has made it."""
    if given.dry_run:
        print(DRY_RUN)
        body = {**body, "dryRun": ["All"]}
    kind = VM if given.persist or _has_machine(server, given.name) else VMI
    try:
        server.call("PUT", server.subresource(kind, given.name, action), body)
    except ServerError as error:
        raise ServerError(error.code, f"{failed}, {error}") from error


def _has_machine(server: Server, name: str) -> bool:
    try:
        server.read(server.object(VM, name))
    except ServerError as error:
        if error.code == _NOT_FOUND:
            return False
        raise
    return True
