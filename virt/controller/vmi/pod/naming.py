"""Names of a launcher pod and of what is in it."""

import hashlib
from typing import Final

from virt.api import core, names, v1

LABEL_MAX: Final = 63
_BASE: Final = 58             # of a pod's name, as the API server cuts generated names
_DIGITS: Final = "bcdfghjklmnpqrstvwxz2456789"


def pod_name(vmi: v1.VirtualMachineInstance) -> str:
    """``virt-launcher-<vmi>-<5 characters of the uid's hash>``.

    Looks like a generated name but is always the same for a VMI: a controller that has lost its lease without knowing
    can never start a second launcher, since the API server refuses the name.
    """
    return named(vmi, vmi.metadata.uid)


def is_pod_of(pod: core.Pod, vmi: v1.VirtualMachineInstance) -> bool:
    """Whether the controllers made this pod for ``vmi``. An owner reference and labels anybody may write: what a tenant
    calls the VMI's would get the handler's ear. Pods of migrations are named by the migration's uid."""
    migration = pod.metadata.labels.get(names.MIGRATION_JOB_UID_LABEL)
    return pod.metadata.name == named(vmi, migration or vmi.metadata.uid)


def named(vmi: v1.VirtualMachineInstance, uid: str) -> str:
    """The name of the one launcher that the object with ``uid`` may bring about: the VMI, or a migration of it."""
    stem = f"virt-launcher-{vmi.metadata.name}"[:_BASE - 1].rstrip("-.")       # cut after a dot, it would be no name
    return f"{stem}-{suffix(uid)}"


def suffix(uid: str) -> str:
    number = int.from_bytes(hashlib.sha256(uid.encode()).digest()[:8], "big")
    text = ""
    for _ in range(5):
        number, digit = divmod(number, len(_DIGITS))
        text += _DIGITS[digit]
    return text


def bounded(name: str) -> str:
    """``name``, or 54 characters of it and a hash, so that it fits a label's value or a DNS label."""
    if len(name) <= LABEL_MAX:
        return name
    return f"{name[:54]}-{hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()[:8]}"


def disk_container(volume: str) -> str:
    """The container that passes a containerDisk to the launcher."""
    return bounded(f"volume{volume}")
