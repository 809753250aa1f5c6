"""Which pod a process belongs to, read from its /proc/PID/cgroup. Pure.

The kubelet puts the pod's UID into the path, in one of two spellings: ``.../kubepods/burstable/pod<uid>/<container>``
(cgroupfs driver) and ``.../kubepods-burstable-pod<uid with underscores>.slice/cri-containerd-<id>.scope`` (systemd).
cgroup v1 has one line per hierarchy, v2 one in all.
"""

import re

_POD = re.compile(
    r"(?:^|[/-])pod([0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12})(?:\.slice)?(?=/|$)"
)


def pod_uid(cgroup: str) -> str | None:
    """The UID of the pod, None for a process of no pod or where the hierarchies name different ones.

    Nodes may be containers of a pod themselves (a cluster inside a cluster): the innermost pod counts.
    """
    found = {matches[-1] for line in cgroup.splitlines() if (matches := _POD.findall(line.split(":", 2)[-1]))}
    return found.pop().replace("_", "-") if len(found) == 1 else None
