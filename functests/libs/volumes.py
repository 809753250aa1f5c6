"""Claims on folders of a node that a test prepares itself: what is in them, whose it is, how much room there is.

A PersistentVolume on a node's folder, bound to its claim from the start. kubelet changes no owner in it. A folder with
little room is a tmpfs: full disks need no loop device.
"""

import base64
import secrets
from dataclasses import dataclass, field

from functests.libs import build, runs, undo
from functests.libs.kube import Space
from functests.libs.nodes import Node, Nodes
from functests.libs.rest import Rest, core_path

ROOT = "/var/functest"
_PV = "/api/v1/persistentvolumes"


@dataclass(frozen=True)
class NodeVolume:
    """``path``: the folder on ``node``. Paths of files are relative to it."""

    node: Node
    name: str
    path: str
    namespace: str
    claim: str
    note: undo.Note

    def run(self, script: str) -> str:
        """A shell script of root, in the folder."""
        return self.node.run(f"cd {self.path} && {script}").strip()

    def write(self, file: str, content: bytes, *, owner: int = 107, mode: str = "0660") -> None:
        """Small content; more is better made there, by ``run``."""
        text = base64.b64encode(content).decode()
        for begin in range(0, len(text), 60000):           # an argument has its limit
            self.run(f"printf %s '{text[begin:begin + 60000]}' >> .{file}.b64")
        self.run(f"base64 -d .{file}.b64 > {file} && rm .{file}.b64")
        self.run(f"chown {owner}:{owner} {file} && chmod {mode} {file}")

    def sha(self, file: str = "disk.img") -> str:
        return self.run(f"sha256sum {file}").split()[0]

    def status(self, file: str = "disk.img") -> str:
        """Owner, mode, size and time of change; of a link's target when ``file`` is absolute."""
        return self.run(f"stat -c '%u:%g %a %s %Y' {file}")


@dataclass
class NodeVolumes:
    """What one test made. ``remove`` comes after its namespace is empty: list the fixture before ``space``."""

    rest: Rest
    nodes: Nodes
    made: list[NodeVolume] = field(default_factory=list)

    def make(
        self, space: Space, node: str, claim: str, *, size: str = "64Mi", mode: str = "ReadWriteOnce", room: str = ""
    ) -> NodeVolume:
        """The claim and its folder. ``size`` is what the volume says to have, ``room`` ("16m") what there really is,
        "" for as much as the node has."""
        name = f"ft-{claim}-{secrets.token_hex(4)}"
        path = f"{ROOT}/{name}"
        note = undo.noted(undo.Script(node=node, script=_gone(path), of=path, late=True))
        volume = NodeVolume(self.nodes[node], name, path, space.name, claim, note)
        self.made.append(volume)
        volume.node.run(f"mkdir -p {volume.path}")
        if room:
            volume.node.run(f"mount -t tmpfs -o size={room} functest {volume.path}")
        volume.node.run(f"chown 107:107 {volume.path} && chmod 0777 {volume.path}")
        affinity = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}
        spec = {
            "capacity": {"storage": size}, "accessModes": [mode], "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {"namespace": space.name, "name": claim},
            "hostPath": {"path": volume.path, "type": "Directory"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [affinity]}},
        }  # fmt: skip
        self.rest.post(_PV, {"metadata": {"name": name, "labels": runs.marked()}, "spec": spec}).ok()
        wanted = build.pvc(claim, size=size, storage_class="", mode=mode)
        bound = build.merged(wanted, {"spec": {"volumeName": name}})
        self.rest.post(core_path("persistentvolumeclaims", space.name), bound).ok()
        return volume

    def remove(self) -> None:
        """Claims, volumes, mounts and folders. All is tried before an error is told."""
        wrong = []
        for volume in self.made:
            self.rest.delete(core_path("persistentvolumeclaims", volume.namespace, volume.claim))
            self.rest.delete(f"{_PV}/{volume.name}")
            code, said = volume.node.try_run(_gone(volume.path))
            if code == 0:
                volume.note.done()
            else:
                wrong.append(f"{volume.node.name}: {volume.path}: {said}")
        assert not wrong, "\n".join(wrong)


def _gone(path: str) -> str:
    """The script after which nothing is at that path of a node."""
    return f"mountpoint -q {path} && umount -l {path}; rm -rf {path}"
