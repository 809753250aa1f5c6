"""What killed commands left behind beside their cluster: folders and containers in which something was being made."""

from cluster_up import docker, engine
from cluster_up.images import node, scratch


def sweep() -> None:
    """Remove what belongs to processes that are no more. Others, of this cluster or another, go on undisturbed."""
    scratch.sweep()
    if engine.fault() is None:
        for name in docker.containers():
            # By name: a label of the container in which a node's image is made would be on every node made of it.
            if name.startswith(node.BUILD_PREFIX) and not scratch.is_owned(name.removeprefix(node.BUILD_PREFIX)):
                docker.run("rm", "--force", "--volumes", name)
