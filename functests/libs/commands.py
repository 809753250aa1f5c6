"""Commands as a person types them, through the one door for processes: kubectl, virtctl, cluster_up.

``deadline_s`` is for a machine where a boot takes six seconds; a slower one gives more (patience.limit).
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import urllib3

from cluster_up import exec as host
from cluster_up.exec import Result
from functests.libs import patience
from functests.libs.cluster import Cluster

ROOT = Path(__file__).parents[2]
VIRTCTL = str(Path(sys.executable).with_name("virtctl"))


def environment(cluster: Cluster) -> dict[str, str]:
    """Where the commands find the cluster, and this source tree before any installed one."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {"KUBECONFIG": str(cluster.kubeconfig), "PYTHONPATH": os.pathsep.join(paths), "PATH": programs}


def kubectl(cluster: Cluster, *words: str, input: str | None = None, check: bool = True) -> Result:  # noqa: A002
    argv, limit_s = ["kubectl", *words], patience.limit(60)
    return host.run(argv, deadline_s=limit_s, input=input, env=environment(cluster), check=check)


def virtctl(cluster: Cluster, *words: str, deadline_s: float = 60, input: str | None = None) -> Result:  # noqa: A002
    """Never raises for an exit status: that is what the tests look at."""
    argv, limit_s = [VIRTCTL, *words], patience.limit(deadline_s)
    return host.run(argv, deadline_s=limit_s, input=input, env=environment(cluster), check=False)


def cluster_up(
    *words: str, deadline_s: float = 120, env: Mapping[str, str] | None = None, root: Path = ROOT
) -> Result:
    """``python -m cluster_up`` of the source tree ``root``; never raises for an exit status."""
    variables = {"PYTHONPATH": str(root), **(env or {})}
    argv = [sys.executable, "-m", "cluster_up", *words]
    return host.run(argv, deadline_s=patience.limit(deadline_s), env=variables, cwd=root, check=False)


def shell(cluster: Cluster, script: str, *, deadline_s: float = 120, env: Mapping[str, str] | None = None) -> Result:
    """A bash script that ends at its first error, with virtctl and kubectl in its PATH. Never raises for a status."""
    variables = {**environment(cluster), **(env or {})}
    argv = ["bash", "-euo", "pipefail", "-c", script]
    return host.run(argv, deadline_s=patience.limit(deadline_s), env=variables, cwd=ROOT, check=False)


def fetch(url: str) -> str:
    """Body of an address on this machine that needs no identity, such as the registry's."""
    answer = urllib3.request("GET", url, timeout=10, retries=False)
    assert answer.status == 200, f"{url}: {answer.status}"
    return answer.data.decode()
