"""The image that nodes are made of: pulled where a registry serves it, built from packages elsewhere."""

from cluster_up import docker
from cluster_up.actions.step import Run, Step
from cluster_up.images import node


def _is_done(run: Run) -> bool:
    reference, version = run.state.node_image, run.config.kubernetes_version
    wanted = (node.published(version), node.reference(version))
    return reference in wanted and docker.has_image(reference)


def _perform(run: Run) -> None:
    version = run.config.kubernetes_version
    reference = node.choice(version, node.is_served(version))
    if reference is None:
        reference = node.build(version, run.report.detail)
    elif not docker.has_image(reference):
        docker.run("pull", reference, deadline_s=1800)
    run.remember(node_image=reference)


STEP = Step("node-image", "node image", _is_done, _perform)
