"""Guest images as container disks in the cluster's registry; what they are is cluster_up/images/guests' business."""

from importlib import import_module
from typing import Any

from cluster_up import paths
from cluster_up.actions.step import Run, Step
from cluster_up.errors import StepFailed

_NAMES = ("tiny",)


def _guests() -> Any:
    guests = import_module("cluster_up.images.guests")
    if not hasattr(guests, "build"):
        raise StepFailed("this tree cannot build guest images yet", hint="use --until component-images")
    return guests


def _is_done(run: Run) -> bool:
    guests, registry = _guests(), f"localhost:{run.state.registry_port}"
    return all(
        run.state.guest_images.get(name, {}).get("reference") == guests.reference(name, registry) for name in _NAMES
    )


def _perform(run: Run) -> None:
    guests, registry = _guests(), f"localhost:{run.state.registry_port}"
    context = guests.Context(registry=registry, cache=paths.cache_root(), log=run.report.detail)
    run.remember(guest_images=guests.build(_NAMES, context))


STEP = Step("guest-images", "guest images", _is_done, _perform)
