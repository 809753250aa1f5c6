"""How a running guest is, in so far as the next test could tell: looked at before and after each test that borrows it.

Each part is the answer to one question, asked in the guest's own shell or of the API; a guest whose answers are not the
same afterwards is not handed on. What lives by itself is left out: clocks, counters, neighbours heard of.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from difflib import unified_diff
from typing import Any

from functests.libs import patience
from functests.libs.console import Console, ConsoleError
from functests.libs.kube import Space
from functests.libs.rest import VM, VMI, core_path, kubevirt_path
from virt.base import waiting

NAME = "vm"
PROMPT = "tiny# "
State = Mapping[str, str]           # question -> answer
SHOWN = 6                           # lines of a difference
ANSWERS_S = 15.0                    # a shell that takes longer is held by something; that costs a boot only
SETTLES_S = 30.0
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

# /proc and the consoles are touched by looking; the agent and the shell keep a log.
_NOT = "! -path /proc ! -path /sys ! -path /dev ! -name .ash_history ! -name qemu-ga.log"
_QUESTIONS = {
    "boot": "cat /proc/sys/kernel/random/boot_id; grep btime /proc/stat; hostname",
    "shell": "echo $$ $PPID $PWD $(umask); stty -a; alias; trap; jobs; set -o",
    "variables": "set | grep -vE '^(LINENO|RANDOM|EPOCH[A-Z]*|_)='",
    "processes": "ps -o pid,args",          # no pipe: its parts would be among them
    "files": f"find / /dev/shm -xdev ! -type l {_NOT} ! -type d -exec stat -c '%n %s %f %u:%g %Z' '{{}}' + | sort;"
    f" find / /dev/shm -xdev -type d {_NOT} -exec stat -c '%n %f %u:%g' '{{}}' + | sort;"
    " find / -xdev -type l | sort | md5sum",
    "devices": "find /dev -xdev | sort; cut -d' ' -f1 /proc/modules | sort",
    "mounts": "cat /proc/mounts /proc/swaps",
    "links": "ip -o -d link; ip -o addr | sed 's/valid_lft.*//'",
    "routes": "{ ip route show table all; ip -6 route show table all; } | sed 's/ expires.*//'; ip rule;"
    " ip neigh show nud permanent; sysctl net 2> /dev/null | md5sum",
}
# Lines that are nobody's: kernel threads, and the program that lists the processes.
_LEFT_OUT = {"processes": re.compile(r"\]$|\{ps\} ")}
# What a test may leave in a namespace; the fixture deletes what is new before it looks.
KINDS = (
    *((core_path, kind) for kind in ("pods", "services", "secrets", "configmaps", "serviceaccounts",
                                     "persistentvolumeclaims")),
    *((kubevirt_path, kind) for kind in (VM, VMI, "virtualmachineinstancemigrations")),
)  # fmt: skip
_GROUPED = ("rbac.authorization.k8s.io/v1 roles", "rbac.authorization.k8s.io/v1 rolebindings",
            "networking.k8s.io/v1 networkpolicies", "policy/v1 poddisruptionbudgets")  # fmt: skip


def collections(namespace: str) -> Iterator[str]:
    for path, kind in KINDS:
        yield path(kind, namespace)
    for entry in _GROUPED:
        group, kind = entry.split()
        yield f"/apis/{group}/namespaces/{namespace}/{kind}"


def objects(space: Space) -> frozenset[str]:
    """Paths of all objects in the namespace."""
    return frozenset(
        f"{path}/{item['metadata']['name']}"
        for path in collections(space.name)
        for item in space.rest.items(path)
    )


def of_vmi(vmi: Mapping[str, Any]) -> str:
    """What of a VMI is its test's business: all that is written to it, and its state.

    Not its generation: as upstream's, the kind has no status subresource, and each change of a condition counts.
    """
    metadata, status = vmi["metadata"], vmi.get("status", {})
    kept = {key: metadata.get(key) for key in ("uid", "labels", "annotations", "finalizers")}
    state = {key: status.get(key) for key in ("phase", "nodeName", "activePods", "migrationState", "volumeStatus")}
    conditions = sorted(f"{entry['type']}={entry['status']}" for entry in status.get("conditions", []))
    return json.dumps({"metadata": kept, "spec": vmi["spec"], "status": state, "conditions": conditions}, indent=1)


def of_pods(space: Space) -> str:
    """Which pods there are, and which of their containers were started again."""
    told = []
    for pod in space.rest.get(core_path("pods", space.name)).ok()["items"]:
        restarts = {entry["name"]: entry["restartCount"] for entry in pod["status"].get("containerStatuses", [])}
        told.append(f"{pod['metadata']['uid']} {sorted(pod['metadata'].get('labels', {}).items())} {restarts}")
    return "\n".join(sorted(told))


def _enter(shell: Console, within_s: float) -> str:
    """What comes when a person presses Enter: a prompt. Something half-typed or in the foreground answers otherwise."""
    since = shell.position
    shell.send("\n")
    found = shell.wait_for(PROMPT, within_s=within_s, since=since)
    return _ESCAPES.sub("", shell.behind(since)[: found.start() - since].decode(errors="replace"))


def look(space: Space, shell: Console, *, within_s: float = ANSWERS_S) -> State:
    """The state now. Raises ConsoleError when the shell does not answer."""
    told = {"console": _enter(shell, within_s)}
    for name, question in _QUESTIONS.items():
        lines = shell.run(question, within_s=within_s).out.splitlines()
        left_out = _LEFT_OUT.get(name)
        told[name] = "\n".join(line for line in lines if left_out is None or not left_out.search(line))
    return {**told, **of_api(space)}


def of_api(space: Space) -> State:
    return {"VMI": of_vmi(space.vmi(NAME)), "pods": of_pods(space), "objects": "\n".join(sorted(objects(space)))}


def settled(space: Space, shell: Console) -> State:
    """The state of a new guest, when two looks in a row are the same: drivers, agent and addresses come late."""
    seen: list[State] = [{}]

    def same() -> str:
        seen.append(look(space, shell, within_s=patience.boots(1)))
        return changes(*seen[-2:])

    patience.eventually("the guest is at rest", same, lambda left: not left, within_s=patience.boots(1), every_s=0.1)
    return seen[-1]


def looked_again(space: Space, before: State) -> str:
    """How the guest differs from ``before``; "" when it does not. On a console of its own, which ends any other.

    What is new in the namespace is deleted first, as it is in every test's.
    """
    def differs() -> str:
        return changes(before, of_api(space))

    try:
        for path in objects(space).difference(before["objects"].splitlines()):
            space.rest.delete(path)
        # Conditions follow what was done to the guest, and deleted pods go, a moment later.
        with suppress(waiting.WaitTimeout):
            patience.eventually("the API says what it said", differs, lambda left: not left, within_s=SETTLES_S)
        with Console(space.rest, space.name, NAME) as shell:
            return changes(before, look(space, shell))
    except ConsoleError as error:
        return f"console: no shell answers: {str(error).splitlines()[0]}"
    except Exception as error:  # noqa: BLE001 - whatever is wrong with this guest, nobody else shall have it
        return f"it cannot be looked at: {type(error).__name__}: {error}"


def changes(before: State, after: State) -> str:
    """One paragraph for each question that has another answer now."""
    said = []
    for name in after:
        old, new = before.get(name, ""), after[name]
        if old != new:
            lines = [line for line in unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=0)
                     if not line.startswith(("---", "+++", "@@"))] or [repr(new)]  # fmt: skip
            more = [f"... {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
            said.append("\n".join([f"{name}:", *(f"  {line}" for line in [*lines[:SHOWN], *more])]))
    return "\n".join(said)
