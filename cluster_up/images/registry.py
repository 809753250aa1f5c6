"""The cluster's own registry: a container on the nodes' network, published on this machine's loopback only.

What it stores is in the cache, named by content, so a new cluster finds what an earlier one pushed: compressing and
sending the launcher's layers takes longer than anything else of a warm `up`.
"""

import shutil
import socket
from collections.abc import Mapping
from typing import Any

from cluster_up import docker
from cluster_up import exec as host
from cluster_up.errors import ForeignCluster, StepFailed
from cluster_up.exec import Log
from cluster_up.images import programs, scratch, store
from cluster_up.images.recipe import digest
from cluster_up.providers.kind import registry_host

_CONFIG = """version: 0.1
log: {level: warn}
storage:
  filesystem: {rootdirectory: /var/lib/registry}
  delete: {enabled: true}
http: {addr: ":5000"}
"""


def is_free(port: int) -> bool:
    """Whether a server could listen on ``port`` of the loopback now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """A port of the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def image(log: Log) -> str:
    """Reference of the registry's image, built now unless the engine has it."""
    tag = f"virt-registry:{digest(programs.REGISTRY.identity(), _CONFIG)}"
    if not docker.has_image(tag):
        program = programs.folder(programs.REGISTRY, log) / "registry"
        with scratch.folder("registry") as context:
            shutil.copy(program, context / "registry")
            (context / "config.yml").write_text(_CONFIG)
            (context / "Dockerfile").write_text(
                "FROM scratch\nCOPY registry /registry\nCOPY config.yml /config.yml\n"
                'ENTRYPOINT ["/registry", "serve", "/config.yml"]\n'
            )
            docker.build(context, tag, log=log)
    return tag


def port_of(name: str) -> int | None:
    """The port that the registry of cluster ``name`` has on the loopback; None unless it runs."""
    found = docker.inspect("container", registry_host(name))
    if found is None or not found["State"]["Running"]:
        return None
    published = found["NetworkSettings"]["Ports"].get("5000/tcp") or []
    return int(published[0]["HostPort"]) if published else None


def is_ready(port: int) -> bool:
    return _answers(port, "/v2/")


def _answers(port: int, path: str, *words: str) -> bool:
    argv = ["curl", "--silent", "--output", "/dev/null", "--max-time", "20", "--fail", *words]
    # curl has its own limit; ours is for a machine that stands still meanwhile, where passing it is an error.
    return host.run([*argv, f"http://127.0.0.1:{port}{path}"], deadline_s=60, check=False).code == 0


def start(name: str, network: str, port: int, log: Log) -> None:
    """Create the network, and the container anew; images that were pushed before are still in the cache.

    Raises ForeignCluster when one of their names is taken by somebody else's, StepFailed when the port is taken.
    """
    container = registry_host(name)
    label = f"{docker.LABEL}={name}"
    reference = image(log)
    has_network, has_container = _ours("network", network, name), _ours("container", container, name)
    if not has_network:
        docker.run("network", "create", "--label", label, network)
    if has_container:
        docker.run("rm", "--force", container)
    if not is_free(port):
        raise StepFailed(
            f"port {port} of 127.0.0.1, which is to be the registry's, is taken by another program",
            hint=f"end that program (`ss -ltnp sport = :{port}` names it); or set another registry_port, 0 for any "
                 "free one, after `down`: references of images hold the port",
        )  # fmt: skip
    docker.run(
        "run", "--detach", "--name", container, "--label", label, "--network", network, "--restart", "always",
        "--publish", f"127.0.0.1:{port}:5000", "--volume", f"{store.root()}:/var/lib/registry", reference,
    )  # fmt: skip


def exists(name: str, network: str) -> bool:
    """Whether anything of it is there, running or not."""
    container = registry_host(name)
    return _is_ours("container", container, name) or _is_ours("network", network, name)


def remove(name: str, network: str) -> None:
    """Take container and network away; nothing happens where nothing is."""
    container = registry_host(name)
    if _is_ours("container", container, name):
        docker.run("rm", "--force", "--volumes", container)
    if _is_ours("network", network, name):
        docker.run("network", "rm", network)


def _is_ours(kind: str, thing: str, name: str) -> bool:
    """Whether a container or network is there and was made for the cluster ``name``."""
    found = docker.inspect(kind, thing)
    return found is not None and labels_of(found).get(docker.LABEL) == name


def _ours(kind: str, thing: str, name: str) -> bool:
    """Whether it is there. Raises ForeignCluster for one that somebody else made."""
    found = docker.inspect(kind, thing)
    if found is not None and labels_of(found).get(docker.LABEL) != name:
        raise ForeignCluster(f"there is a {kind} {thing!r} already that was not made by this command")
    return found is not None


def labels_of(found: Mapping[str, Any]) -> Mapping[str, str]:
    """Labels of a container or a network, out of what the engine says of it."""
    return found.get("Labels") or found.get("Config", {}).get("Labels") or {}
