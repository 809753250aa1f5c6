"""The cluster's own registry: a container on the nodes' network, published on this machine's loopback only.

What it stores is in the cache, named by content, so a new cluster finds what an earlier one pushed: compressing and
sending the launcher's layers takes longer than anything else of a warm `up`.
"""

import shutil
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

from cluster_up import docker, paths
from cluster_up import exec as host
from cluster_up.images import programs
from cluster_up.images.recipe import digest
from cluster_up.providers.kind import registry_host

_CONFIG = """version: 0.1
log: {level: warn}
storage:
  filesystem: {rootdirectory: /var/lib/registry}
  delete: {enabled: true}
http: {addr: ":5000"}
"""


def store() -> Path:
    """Folder of the layers and manifests of all clusters' registries."""
    return paths.cache_root() / "registry"


def has(port: int, name: str) -> bool:
    """Whether the registry on ``port`` holds ``name:tag`` with all its layers' names."""
    repository, _, tag = name.partition(":")
    accepted = "application/vnd.docker.distribution.manifest.v2+json"
    return _answers(port, f"/v2/{repository}/manifests/{tag}", "--head", "--header", f"Accept: {accepted}")


def free_port() -> int:
    """A port of the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def image(log: Callable[[str], None]) -> str:
    """Reference of the registry's image, built now unless the engine has it."""
    tag = f"virt-registry:{digest(programs.REGISTRY.identity(), _CONFIG)}"
    if not docker.has_image(tag):
        program = programs.folder(programs.REGISTRY, log) / "registry"
        with tempfile.TemporaryDirectory(dir=paths.cache_root(), prefix="registry-") as scratch:
            context = Path(scratch)
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
    argv = ["curl", "--silent", "--output", "/dev/null", "--max-time", "2", "--fail", *words]
    return host.run([*argv, f"http://127.0.0.1:{port}{path}"], deadline_s=5, check=False).code == 0


def start(name: str, network: str, port: int, log: Callable[[str], None]) -> None:
    """Make network and container anew; images that were pushed before are in the cache still."""
    container = registry_host(name)
    label = f"{docker.LABEL}={name}"
    reference = image(log)
    if docker.inspect("network", network) is None:
        docker.run("network", "create", "--label", label, network)
    if docker.inspect("container", container):
        docker.run("rm", "--force", container)
    docker.run(
        "run", "--detach", "--name", container, "--label", label, "--network", network, "--restart", "always",
        "--publish", f"127.0.0.1:{port}:5000", "--volume", f"{store()}:/var/lib/registry", reference,
    )  # fmt: skip


def exists(name: str, network: str) -> bool:
    """Whether anything of it is there, running or not."""
    container = registry_host(name)
    things = (("container", container), ("network", network))
    return any(docker.inspect(kind, thing) for kind, thing in things)


def remove(name: str, network: str) -> None:
    """Take container and network away; nothing happens where nothing is."""
    container = registry_host(name)
    if docker.inspect("container", container):
        docker.run("rm", "--force", "--volumes", container)
    if docker.inspect("network", network):
        docker.run("network", "rm", network)
