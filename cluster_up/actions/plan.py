"""The steps of ``up`` in order, and how a list of steps is run."""

import time
from collections.abc import Sequence

from cluster_up.actions import (
    cluster,
    component_images,
    deploy,
    engine,
    functions,
    guest_images,
    host_cards,
    kubectl,
    network,
    node_image,
    registry,
    requirements,
    rollout,
    segments,
    storage,
)
from cluster_up.actions.step import Run, Step
from cluster_up.errors import ClusterError
from cluster_up.state import Step as Timing
from virt.base.errors import VirtError

UP: tuple[Step, ...] = (
    requirements.STEP,
    engine.STEP,
    node_image.STEP,
    registry.STEP,
    cluster.STEP,
    kubectl.STEP,
    network.STEP,
    storage.STEP,
    segments.STEP,
    component_images.STEP,
    guest_images.STEP,
    deploy.STEP,
    rollout.STEP,
    host_cards.STEP,
    functions.STEP,
)
SYNC: tuple[Step, ...] = (registry.STEP, segments.STEP, component_images.STEP, deploy.STEP, rollout.STEP)


def names() -> list[str]:
    return [step.name for step in UP]


def until(steps: Sequence[Step], last: str | None) -> Sequence[Step]:
    """The steps up to and including the one called ``last``; all of them for None."""
    if last is None:
        return steps
    return steps[: [step.name for step in steps].index(last) + 1]


def run_steps(steps: Sequence[Step], run: Run) -> int:
    """Do what is not done yet, in order; returns how many steps had to work. Raises what a step raises."""
    worked = 0
    for step in steps:
        if step.is_done(run):
            run.report.skipped(step.title)
            continue
        last = run.state.steps.get(step.name)
        started = time.monotonic()
        with run.report.step(step.title, last.seconds if last else None):
            try:
                step.perform(run)
            except (ClusterError, VirtError) as error:
                run.report.detail(f"{step.name} failed: {error}")
                raise
        worked += 1
        timing = Timing(seconds=round(time.monotonic() - started, 2), finished=time.time())
        run.remember(steps={**run.state.steps, step.name: timing})
    return worked
