"""The cluster under test: how to reach it, which images it has, what it can do.

Everything comes from one ``python -m cluster_up status -o json``; the tests know no other way in.
"""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from kubernetes import client, config

from cluster_up import exec as host
from virt.base import waiting

WELL_S = 300.0              # components that lost their leases on a slow machine are back by then


@dataclass(frozen=True)
class Cluster:
    """One running cluster. ``images`` maps a guest image's name to its status entry (reference, kernel paths ...)."""

    name: str
    kubeconfig: Path
    nodes: tuple[str, ...]
    workers: tuple[str, ...]              # those that every test may use
    images: Mapping[str, Mapping[str, Any]]
    component_images: Mapping[str, str]
    capabilities: Mapping[str, bool]
    machines: tuple[str, ...] = ()        # those with network cards of their own, for tests that ask for them

    @cached_property
    def api(self) -> client.ApiClient:
        """A client with the administrator's rights. One per process: it keeps its connections."""
        return config.new_client_from_config(str(self.kubeconfig))

    @cached_property
    def core(self) -> client.CoreV1Api:
        return client.CoreV1Api(self.api)

    def image(self, name: str) -> str:
        """Reference of the guest image ``name``, as a containerDisk or kernelBoot container names it."""
        return str(self.images[name]["reference"])


def load(name: str | None = None, *, well: bool = True) -> Cluster:
    """The cluster called ``name`` (default: VIRT_CLUSTER_NAME, else the default cluster).

    Raises cluster_up's RunError, with its text, when there is none. One of which a part does not answer just now is
    given five minutes: all tests of a worker would pay for a machine that stood still in that moment. Without ``well``
    it may be as ill as it likes, so long as it is there.
    """
    argv = [sys.executable, "-m", "cluster_up", "status", "-o", "json"]
    wanted = name or os.environ.get("VIRT_CLUSTER_NAME")
    if wanted:
        argv += ["--name", wanted]
    last: list[host.Result] = []

    def is_healthy() -> bool:
        last[:] = [host.run(argv, deadline_s=180, check=False)]
        return last[0].code == 0 or bool(last[0].stdout and not well)

    try:
        waiting.wait_for(is_healthy, bool, stop=lambda _: not last[0].stdout, deadline_s=WELL_S, every_s=2)
    except (waiting.WaitTimeout, waiting.WaitStopped):
        raise host.RunError(last[0]) from None
    status = json.loads(last[0].stdout)
    nodes = status["nodes"]
    return Cluster(
        name=status["name"],
        kubeconfig=Path(status["kubeconfig"]),
        nodes=tuple(node["name"] for node in nodes),
        workers=tuple(node["name"] for node in nodes if node["role"] == "worker"),
        images=status["guest_images"],
        component_images=status["component_images"],
        capabilities=status["capabilities"],
        machines=tuple(node["name"] for node in nodes if node["role"] == "machine"),
    )
