"""Guest images as container disks in the cluster's registry; what they are is cluster_up/images/guests' business."""

from cluster_up.actions.step import Run, Step
from cluster_up.images import guests, store


def _registry(run: Run) -> str:
    return f"localhost:{run.state.registry_port}"


def _is_done(run: Run) -> bool:
    references = {name: guests.reference(name, _registry(run)) for name in guests.EARLY}
    return all(
        run.state.guest_images.get(name, {}).get("reference") == reference
        and not store.faults(reference.partition("/")[2])
        for name, reference in references.items()
    )


def _perform(run: Run) -> None:
    context = guests.Context(registry=_registry(run), log=run.report.detail)
    run.remember(guest_images={**run.state.guest_images, **guests.build(guests.EARLY, context)})


STEP = Step("guest-images", "guest images", _is_done, _perform)
