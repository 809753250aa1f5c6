"""The container engine, through its command. The one place that knows docker's arguments and JSON.

BuildKit is off: the classic builder is in every engine since 17.x and needs no plugin.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cluster_up import exec as host
from cluster_up.exec import Log

_BUILDER = {"DOCKER_BUILDKIT": "0", "BUILDKIT_PROGRESS": "plain"}
QUICK_S = 180.0             # it only ends what hangs: a slow disk takes a minute to remove a node
LABEL = "virt-harness.cluster"       # on every container, network and volume of a cluster: its name


def run(*words: str | Path, deadline_s: float = QUICK_S, input: str | bytes | None = None) -> str:  # noqa: A002
    """Standard output of one docker command. Raises RunError when it fails."""
    return host.run(["docker", *words], deadline_s=deadline_s, input=input, env=_BUILDER).stdout


def inspect(kind: str, name: str) -> dict[str, Any] | None:
    """What the engine knows of one container, image, network or volume; None when there is none of that name."""
    done = host.run(["docker", kind, "inspect", name], deadline_s=QUICK_S, check=False)
    if done.code != 0:
        return None
    found: list[dict[str, Any]] = json.loads(done.stdout or "[]")
    return found[0] if found else None


def inspect_all(names: Sequence[str]) -> list[dict[str, Any]]:
    """Several containers at once, in the order of ``names``. Raises RunError when one is missing."""
    found: list[dict[str, Any]] = json.loads(run("container", "inspect", *names)) if names else []
    return found


def has_image(reference: str) -> bool:
    return inspect("image", reference) is not None


def containers(**labels: str) -> list[str]:
    """Names of all containers, running or not, that carry the labels ("" stands for any value); sorted.

    Labels of an image count as labels of the containers made of it.
    """
    wanted = [f"label={label}={value}" if value else f"label={label}" for label, value in labels.items()]
    filters = [word for one in wanted for word in ("--filter", one)]
    return sorted(run("ps", "--all", "--format", "{{.Names}}", *filters).split())


def build(context: Path, tag: str, *, log: Log) -> None:
    """Build the Dockerfile in the folder ``context``, without a network; at most half an hour."""
    host.run(
        ["docker", "build", "--network", "none", "--tag", tag, context], deadline_s=1800, env=_BUILDER, on_line=log
    )


def import_root(tar: Path, tag: str) -> None:
    """Make an image of one layer out of a root file system."""
    run("import", tar, tag, deadline_s=600)


def load(archive: Path) -> None:
    """Take the images of an archive, with their tags."""
    run("load", "--quiet", "--input", archive, deadline_s=900)


def push(image: str, reference: str) -> None:
    """Push a local image as ``reference``. The engine keeps no name with a registry in it: ports come and go."""
    run("tag", image, reference)
    try:
        run("push", "--quiet", reference, deadline_s=900)
    finally:
        run("image", "rm", "--no-prune", reference)
