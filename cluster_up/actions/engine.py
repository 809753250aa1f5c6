"""A container engine that answers. Starts Docker when none runs; never touches the configuration of one that does."""

from cluster_up import engine
from cluster_up.actions.step import Step

STEP = Step(
    "engine", "container engine", lambda run: engine.fault() is None, lambda run: engine.start(run.report.detail)
)
