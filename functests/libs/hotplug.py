"""Disks that come into a running guest and leave it: how that is asked for, and where it can be seen."""

from collections.abc import Iterable, Mapping
from typing import Any

from functests.libs import patience
from functests.libs.console import Console
from functests.libs.kube import Object, Space, condition
from functests.libs.rest import core_path

PREFIX = "hp-volume-"
ORDER = ("Pending", "Bound", "AttachedToNode", "MountedToPod", "Ready")      # in which a volume comes
MIB = 1 << 20


def volume(name: str, claim: str = "") -> dict[str, Any]:
    """As a template has it."""
    return {"name": name, "persistentVolumeClaim": {"claimName": claim or name, "hotpluggable": True}}


def disk(name: str, bus: str = "virtio", serial: str = "") -> dict[str, Any]:
    return {"name": name, "disk": {"bus": bus}, "serial": serial or name}


def options(name: str, bus: str = "scsi", claim: str = "", **more: Any) -> dict[str, Any]:
    """The body of addvolume."""
    source = {"persistentVolumeClaim": {"claimName": claim or name}}
    return {"name": name, "disk": disk(name, bus), "volumeSource": source, **more}


def patch_in(space: Space, vm: str, name: str, claim: str = "", bus: str = "virtio") -> None:
    """One more disk in the template."""
    spec = space.vm(vm)["spec"]["template"]["spec"]
    disks = [*spec["domain"]["devices"].get("disks", ()), disk(name, bus)]
    _patch(space, vm, disks, [*spec.get("volumes", ()), volume(name, claim)])


def patch_out(space: Space, vm: str, name: str) -> None:
    spec = space.vm(vm)["spec"]["template"]["spec"]
    _patch(space, vm, [each for each in spec["domain"]["devices"].get("disks", ()) if each["name"] != name],
           [each for each in spec.get("volumes", ()) if each["name"] != name])


def _patch(space: Space, vm: str, disks: list[Any], volumes: list[Any]) -> None:
    changes = {"domain": {"devices": {"disks": disks}}, "volumes": volumes}
    space.patch_vm(vm, {"spec": {"template": {"spec": changes}}}).ok()


def volumes_of(spec: Mapping[str, Any]) -> list[str]:
    return [each["name"] for each in spec.get("volumes", ())]


def status(vmi: Object | None, name: str) -> Object:
    """The volume's entry in the VMI's status, or {}."""
    found = [each for each in (vmi or {}).get("status", {}).get("volumeStatus", ()) if each["name"] == name]
    return found[0] if found else {}


def phase(vmi: Object | None, name: str) -> str:
    return str(status(vmi, name).get("phase", ""))


def wait_ready(space: Space, vmi: str, *names: str, within_s: float | None = None) -> Object:
    """Until the guest has them; the VMI."""
    return space.wait_vmi(
        vmi, lambda seen: all(phase(seen, name) == "Ready" for name in names), f"{', '.join(names)} Ready",
        within_s=within_s)


def wait_gone(space: Space, vmi: str, *names: str, within_s: float | None = None) -> Object:
    """Until the VMI tells no more of them, in spec and status."""
    return space.wait_vmi(
        vmi, lambda seen: not any(status(seen, name) or name in volumes_of(seen["spec"]) for name in names),
        f"{', '.join(names)} gone", within_s=within_s)


def attachments(space: Space) -> list[Object]:
    """The attachment pods that there are."""
    return [pod for pod in space.rest.get(core_path("pods", space.name)).ok()["items"]
            if pod["metadata"]["name"].startswith(PREFIX)]


def wait_attachments(space: Space, wanted: Iterable[str], *, within_s: float | None = None) -> Object | None:
    """Until there is one attachment pod with just these claims, and no other; None where none is wanted."""
    expected = sorted(wanted)

    def carried() -> list[tuple[str, list[str]]]:
        return [(pod["status"]["phase"], sorted(
            each["persistentVolumeClaim"]["claimName"] for each in pod["spec"]["volumes"]
            if "persistentVolumeClaim" in each)) for pod in attachments(space)]

    patience.eventually(
        f"one attachment pod with {expected}" if expected else "no attachment pod", carried,
        lambda seen: seen == ([("Running", expected)] if expected else []), within_s=within_s)
    found = attachments(space)
    return found[0] if found else None


def find(shell: Console, serial: str, *, within_s: float | None = None) -> str:
    """Until the guest has a disk with that serial, on whichever bus; its device, "/dev/vda"."""
    # A SCSI disk tells its serial in page 0x80: four bytes, then the text.
    # Where no disk is yet, d is the pattern itself, which is not to be tried once more.
    look = (f"for d in /sys/block/*; do {{ cat \"$d/serial\" || tail -c +5 \"$d/device/vpd_pg80\"; }} 2>/dev/null | "
            f"tr -d '\\0' | grep -qx '{serial}' && echo \"/dev/${{d##*/}}\"; done; true")
    return patience.eventually(
        f"the guest has disk {serial}", lambda: shell.succeed(look).strip(), lambda seen: seen.startswith("/dev/"),
        within_s=within_s)


def has_device(shell: Console, device: str) -> bool:
    return shell.run(f"test -e /sys/block/{device.removeprefix('/dev/')}").code == 0


def fill(shell: Console, device: str, mib: int = 4) -> str:
    """Random bytes at the disk's beginning, read back past the guest's cache; their sha256."""
    shell.succeed(f"head -c {mib * MIB} /dev/urandom > /run/data && "
                  f"dd if=/run/data of={device} bs=1M conv=fsync 2>/dev/null", within_s=60)
    wanted = shell.succeed("sha256sum < /run/data").split()[0]
    assert digest(shell, device, mib) == wanted
    return wanted


def digest(shell: Console, device: str, mib: int = 4) -> str:
    """sha256 of the disk's beginning, as the disk itself answers."""
    return shell.succeed(
        f"echo 3 > /proc/sys/vm/drop_caches; dd if={device} bs=1M count={mib} 2>/dev/null | sha256sum").split()[0]


def needs_restart(space: Space, vm: str) -> bool:
    return condition(space.vm(vm), "RestartRequired") != {}
