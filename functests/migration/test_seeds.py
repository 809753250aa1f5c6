"""Disks that are generated from objects of the API: a guest that moves keeps what it was given."""

import base64
import secrets

import pytest

from functests.libs import build, moves, patience
from functests.libs.build import Manifest
from functests.libs.cluster import Cluster
from functests.libs.kube import Space
from functests.libs.nodes import Nodes
from functests.libs.rest import core_path

pytestmark = [pytest.mark.needs("two-nodes"), pytest.mark.demand(memory_mib=500, nodes=2, seconds=45)]
DROP = "echo 3 > /proc/sys/vm/drop_caches; "


def _object(space: Space, kind: str, name: str, data: dict[str, str]) -> None:
    space.rest.post(core_path(kind, space.name), {"metadata": {"name": name}, "data": data}).ok()


def _coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _look(space: Space, devices: tuple[str, ...]) -> str:
    shell = space.shell("vm")
    return shell.succeed(f"{DROP}for d in {' '.join(devices)}; do sha256sum < /dev/$d; done")


def _sizes(space: Space) -> dict[str, int]:
    """Of the disks, as the VMI's status tells them."""
    told = space.vmi("vm")["status"].get("volumeStatus", [])
    return {entry["name"]: entry["size"] for entry in told if entry.get("size")}


@pytest.mark.case("BLK-003")
@pytest.mark.parametrize("kind", ["cloudInitNoCloud", "cloudInitConfigDrive"])
@pytest.mark.parametrize("change", [100, 60_000], ids=["longer", "much-longer"])
def test_a_seed_is_what_the_guest_was_given(
    space: Space, cluster: Cluster, nodes: Nodes, kind: str, change: int
) -> None:
    """
    Preconditions: a guest with a seed from a secret, on SATA.
    Steps: change the secret, so that a seed made now would be another and larger one; migrate.
    Expected: it moved; the whole device in the guest is as before.
    """
    _object(space, "secrets", "seed", {"userdata": _coded(f"#cloud-config\n# {secrets.token_hex(16)}\n")})
    source = {kind: {"secretRef": {"name": "seed"}}}
    space.boot(build.with_disk(build.kernel_boot_vmi(cluster, "vm"), "seed", source, disk={"bus": "sata"}))
    known = _look(space, ("sda",))
    before = moves.home(space, nodes, "vm")
    other = _coded(f"#cloud-config\n# {secrets.token_hex(change // 2)}\n")
    space.rest.patch(core_path("secrets", space.name, "seed"), {"data": {"userdata": other}}).ok()
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Succeeded")
    moves.check_moved(space, nodes, "vm", before, "move")
    assert _look(space, ("sda",)) == known


def _with_all_kinds(space: Space, cluster: Cluster) -> Manifest:
    _object(space, "configmaps", "map", {"word": secrets.token_hex(16)})
    _object(space, "secrets", "secret", {"word": _coded(secrets.token_hex(16))})
    label = {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}
    sources: dict[str, Manifest] = {
        "map": {"configMap": {"name": "map"}}, "secret": {"secret": {"secretName": "secret"}},
        "down": {"downwardAPI": {"fields": [label]}}, "account": {"serviceAccount": {"serviceAccountName": "default"}},
    }
    manifest = build.merged(build.kernel_boot_vmi(cluster, "vm"), {"metadata": {"labels": {"app": "web"}}})
    for name, source in sources.items():
        manifest = build.with_disk(manifest, name, source, disk={"bus": "sata"})
    return manifest


@pytest.mark.case("BLK-004")
def test_generated_disks_go_along(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a guest with disks from a configMap, a secret, the downward API and a service account, on SATA.
    Steps: change the configMap; migrate.
    Expected: the status tells the size of each; it moved; all four devices are as before.
    """
    space.boot(_with_all_kinds(space, cluster))
    devices = ("sda", "sdb", "sdc", "sdd")
    known = _look(space, devices)
    sizes = patience.eventually("all sizes are told", lambda: _sizes(space), lambda found: len(found) == 4)
    assert all(size > 0 for size in sizes.values()), sizes
    before = moves.home(space, nodes, "vm")
    space.rest.patch(core_path("configmaps", space.name, "map"), {"data": {"word": "another"}}).ok()
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Succeeded")
    moves.check_moved(space, nodes, "vm", before, "move")
    assert _look(space, devices) == known
    assert _sizes(space) == sizes
