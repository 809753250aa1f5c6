"""What killed commands left behind outside of their cluster: scratch folders, and containers of unfinished builds."""

from cluster_up import docker, engine
from cluster_up.images import node, scratch
from cluster_up.machines import disk

_PREFIXES = (node.BUILD_PREFIX, disk.BUILD_PREFIX)


def sweep() -> None:
    """Remove what belongs to processes that have ended. Running ones, for whatever cluster, are not disturbed."""
    scratch.sweep()
    if engine.fault() is None:
        for name in docker.containers():
            # By name: a label of the container in which a node's image is made would be on every node made of it.
            prefix = next((each for each in _PREFIXES if name.startswith(each)), None)
            if prefix and not scratch.is_owned(name.removeprefix(prefix)):
                docker.run("rm", "--force", "--volumes", name)
