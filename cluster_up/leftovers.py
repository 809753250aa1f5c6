"""What killed commands left behind beside their cluster: folders and containers in which something was being made."""

from cluster_up import docker, engine
from cluster_up.images import node, scratch
from cluster_up.machines import disk

_PREFIXES = (node.BUILD_PREFIX, disk.BUILD_PREFIX)


def sweep() -> None:
    """Remove what belongs to processes that are no more. Others, of this cluster or another, go on undisturbed."""
    scratch.sweep()
    if engine.fault() is None:
        for name in docker.containers():
            # By name: a label of the container in which a node's image is made would be on every node made of it.
            prefix = next((each for each in _PREFIXES if name.startswith(each)), None)
            if prefix and not scratch.is_owned(name.removeprefix(prefix)):
                docker.run("rm", "--force", "--volumes", name)
