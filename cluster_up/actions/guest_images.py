"""Guest images as container disks in the cluster's registry; what they are is cluster_up/images/guests' business."""

from cluster_up.actions.step import Run, Step
from cluster_up.images import guests, store


def _is_done(run: Run) -> bool:
    return all(_is_current(run, name) for name in guests.EARLY)


def _is_current(run: Run, name: str) -> bool:
    """True also for the best image when the cache no longer has what it was made of."""
    found = str(run.state.guest_images.get(name, {}).get("reference", ""))
    wanted = [guests.reference(name, run.state.registry, best=best) for best in (False, True)]
    return found in wanted and not store.faults(found.partition("/")[2])


def _perform(run: Run) -> None:
    context = guests.Context(registry=run.state.registry, log=run.report.detail)
    run.remember(guest_images={**run.state.guest_images, **guests.build(guests.EARLY, context)})


STEP = Step("guest-images", "guest images", _is_done, _perform)
