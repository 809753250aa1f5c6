"""The cluster's registry, on a port that stays the same for the cluster's life: image references hold it."""

from cluster_up.actions.step import Run, Step
from cluster_up.images import registry, store
from virt.base import waiting

_READY_S = 180.0


def _is_done(run: Run) -> bool:
    port = run.state.registry_port
    if not port or not store.root().is_dir():         # it would go on writing to a folder that was removed
        return False
    return registry.port_of(run.config.name) == port and registry.is_ready(port)


def _perform(run: Run) -> None:
    # Where the state file was lost, the container knows the port: images in use are named by it.
    known = run.state.registry_port or registry.port_of(run.config.name)
    port = known or run.config.registry_port or registry.free_port()
    registry.start(run.config.name, run.provider.network, port, run.report.detail)
    run.remember(registry_port=port)
    waiting.wait_for(lambda: registry.is_ready(port), bool, deadline_s=_READY_S, what=f"the registry on port {port}")


STEP = Step("registry", "local registry", _is_done, _perform)
