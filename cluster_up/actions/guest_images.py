"""Guest images as container disks in the cluster's registry; what they are is cluster_up/images/guests' business."""

from cluster_up import paths
from cluster_up.actions.step import Run, Step

_NAMES = ("tiny",)


def _is_done(run: Run) -> bool:
    from cluster_up.images import guests

    registry = f"localhost:{run.state.registry_port}"
    return all(run.state.guest_images.get(name, {}).get("reference") == guests.reference(name, registry) for name in _NAMES)


def _perform(run: Run) -> None:
    from cluster_up.images import guests

    context = guests.Context(
        registry=f"localhost:{run.state.registry_port}", cache=paths.cache_root(), log=run.report.detail
    )
    run.remember(guest_images=guests.build(_NAMES, context))


STEP = Step("guest-images", "guest images", _is_done, _perform)
