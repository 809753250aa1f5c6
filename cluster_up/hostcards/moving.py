"""Cards on their way to a node and back: shell scripts for the machine, and what is seen of them in sysfs.

A network namespace that ends gives its hardware back by itself, maybe under another name, so a node that was killed and
one that was taken away in order leave the same work: wait until the card is here, and make it what it was.
(Linux, net/core/dev.c: default_device_exit_net.)
"""

import shlex
from collections.abc import Callable
from pathlib import Path

from cluster_up.cards import SYSFS
from cluster_up.errors import StepFailed
from cluster_up.state import LentCard
from virt.base import waiting

_BACK_S = 60.0                 # namespaces are cleared up in the background
Script = Callable[[str], str]

def here(card: LentCard, sysfs: Path = SYSFS) -> str:
    """The name under which this machine has the card now; "" while another namespace has it."""
    names = sorted(each.name for each in _folder(card, sysfs).glob("net/*"))
    return names[0] if names else ""


def is_plugged_in(card: LentCard, sysfs: Path = SYSFS) -> bool:
    return _folder(card, sysfs).exists()


def lend(card: LentCard, pid: int, run: Script) -> None:
    """Move the card into the network namespace of process ``pid``. Raises RunError."""
    name = shlex.quote(card.name)
    run(f"ip link set dev {name} netns {pid}\nnsenter -t {pid} -n ip link set dev {name} up")


def recall(card: LentCard, pid: int, run: Script) -> None:
    """Move the card back from the network namespace of process ``pid`` into the machine's own. Raises RunError."""
    run(f"nsenter -t {pid} -n ip link set dev {shlex.quote(card.name)} netns 1")


def settle(card: LentCard, run: Script, sysfs: Path = SYSFS, *, deadline_s: float = _BACK_S) -> None:
    """Wait until the card is here, and make it what it was before it was lent. Raises StepFailed or RunError."""
    if not is_plugged_in(card, sysfs):
        return                         # it was taken out of the machine
    try:
        now = waiting.wait_for(
            lambda: here(card, sysfs), bool, deadline_s=deadline_s, every_s=0.5, what=f"card {card.name} to come back")
    except waiting.WaitTimeout as error:
        hint = f"look which namespace has it (`ip netns`, `lsns -t net`): ls /sys/bus/pci/devices/{card.address}/net"
        raise StepFailed(f"network card {card.name} ({card.address}) is not back from {card.node}: {error}",
                         hint=hint) from error
    run(restoring(card, now, sysfs))


def restoring(card: LentCard, now: str, sysfs: Path = SYSFS) -> str:
    """The script for a card that is called ``now``. Pure."""
    folder, name = shlex.quote(str(_folder(card, sysfs))), shlex.quote(card.name)
    lines = [
        f"cd {folder}",
        "echo 1 > sriov_drivers_autoprobe",
        # From one number to another is refused.
        f"[ $(cat sriov_numvfs) = {card.functions} ] || "
        f"{{ echo 0 > sriov_numvfs; echo {card.functions} > sriov_numvfs; }}",
    ]
    if now != card.name:
        lines += [f"ip link set dev {shlex.quote(now)} down", f"ip link set dev {shlex.quote(now)} name {name}"]
    return "\n".join([*lines, f"ip link set dev {name} {'up' if card.is_up else 'down'}"])


def _folder(card: LentCard, sysfs: Path) -> Path:
    return sysfs / "bus" / "pci" / "devices" / card.address
