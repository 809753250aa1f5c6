"""The image registry goes away, or does not have an image yet."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import docker
import pytest
import urllib3

from functests.libs import build, patience
from functests.libs.cluster import Cluster
from functests.libs.kube import Object, Space, condition
from functests.libs.witness import Witness

_MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json, "
    "application/vnd.oci.image.index.v1+json"
)


@contextmanager
def _stopped_registry(cluster: Cluster) -> Iterator[None]:
    """The local registry's container is dead inside the block."""
    registry = docker.from_env().containers.get(f"virt-{cluster.name}-registry")
    registry.kill()
    try:
        yield
    finally:
        registry.start()


@pytest.mark.serial
@pytest.mark.case("DEV-018")
def test_guests_need_no_registry_once_they_have_their_image(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a running VM with a witness; another guest was booted on the same node, so its images are there.
    Steps: SIGKILL the local registry; restart the VM; create a VMI on that node; start the registry again.
    Expected: the first guest goes on; restart and the new VMI boot from the images that the node has.
    """
    node = cluster.workers[0]
    vmi, shell = space.boot(build.vm_of(build.on_node(build.kernel_boot_vmi(cluster, "vm"), node)))
    witness = Witness(shell)
    with _stopped_registry(cluster):
        witness.check()
        _, second = space.boot(build.on_node(build.kernel_boot_vmi(cluster, "second"), node))
        assert second.succeed("echo $((6*7))") == "42"
        assert space.act_on_vm("vm", "restart").code == 202
        space.wait_running("vm", not_uid=vmi["metadata"]["uid"], within_s=patience.promised(60))
        assert space.shell("vm").succeed("echo $((6*7))") == "42"


def _retag(reference: str, tag: str) -> str:
    """The image also under ``tag``; returns that reference."""
    name, _, old = reference.rpartition(":")
    host, _, repository = name.partition("/")
    url = f"http://{host}/v2/{repository}/manifests"
    manifest = urllib3.request("GET", f"{url}/{old}", headers={"Accept": _MANIFESTS}, timeout=10)
    assert manifest.status == 200, manifest.data
    kind = {"Content-Type": manifest.headers["Content-Type"]}
    put = urllib3.request("PUT", f"{url}/{tag}", body=manifest.data, headers=kind, timeout=10)
    assert put.status == 201, put.data
    return f"{name}:{tag}"


@pytest.mark.case("LIF-043")
def test_an_image_that_comes_late_is_waited_for(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: none.
    Steps: create an Always VM whose containerDisk has a tag that the registry lacks; push the tag.
    Expected: the VM shows ErrImagePull or ImagePullBackOff, the VMI Synchronized False with that reason and image in
        the message; then Running, the condition is gone, it is the same VMI, the guest answers.
    """
    tag = f"late-{time.time_ns()}"
    name = cluster.image("tiny").rpartition(":")[0]
    disk = {"name": "root", "containerDisk": {"image": f"{name}:{tag}"}}
    manifest = build.merged(build.disk_boot_vmi(cluster, "vm"), {"spec": {"volumes": [disk]}})
    reasons = ("ErrImagePull", "ImagePullBackOff")
    space.create(build.vm_of(manifest))

    def pulls(vmi: Object) -> bool:
        synchronized = condition(vmi, "Synchronized")
        return synchronized.get("status") == "False" and synchronized.get("reason") in reasons

    waiting = space.wait_vmi("vm", pulls, "waits for its image", within_s=patience.promised(60))
    assert tag in condition(waiting, "Synchronized")["message"], condition(waiting, "Synchronized")
    space.wait_vm(
        "vm", lambda vm: vm["status"].get("printableStatus") in reasons, "says that it waits for its image"
    )
    assert _retag(cluster.image("tiny"), tag) == f"{name}:{tag}"
    running = space.wait_running("vm", within_s=patience.promised(120))     # the kubelet tries ever more rarely
    assert running["metadata"]["uid"] == waiting["metadata"]["uid"]
    space.wait_condition("vm", "Synchronized", "")
    assert space.shell("vm", boots=2).succeed("echo $((6*7))") == "42"
