"""The runner of steps: what is done is left alone, and an interrupted run goes on."""

from io import StringIO
from pathlib import Path
from typing import cast

import pytest
from rich.console import Console

from cluster_up.actions import plan
from cluster_up.actions.step import Run, Step
from cluster_up.config.types import Config
from cluster_up.errors import StepFailed
from cluster_up.progress import Reporter
from cluster_up.providers.api import Provider
from cluster_up.state import State, read


class World:
    """Steps that are done once they were performed; the one named in ``broken`` fails."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.broken = ""

    def step(self, name: str) -> Step:
        def perform(run: Run) -> None:
            if name == self.broken:
                raise StepFailed("no")
            self.done.append(name)

        return Step(name, name, lambda run: name in self.done, perform)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    report = Reporter(Console(file=StringIO()))
    return Run(Config(name="t"), State(name="t"), cast("Provider", None), report)


def test_a_failed_run_goes_on_where_it_stopped(run: Run) -> None:
    world = World()
    steps = [world.step(name) for name in ("a", "b", "c")]
    world.broken = "b"
    with pytest.raises(StepFailed):
        plan.run_steps(steps, run)
    world.broken = ""
    assert plan.run_steps(steps, run) == 2
    assert world.done == ["a", "b", "c"]
    assert plan.run_steps(steps, run) == 0


def test_the_time_of_a_step_is_kept_for_the_next_estimate(run: Run) -> None:
    plan.run_steps([World().step("a")], run)
    kept = read("t")
    assert kept is not None
    assert set(kept.steps) == {"a"}


def test_until_ends_with_the_named_step() -> None:
    assert [step.name for step in plan.until(plan.UP, "registry")][-1] == "registry"
    assert plan.until(plan.UP, None) == plan.UP


def test_images_come_before_what_uses_them() -> None:
    names = plan.names()
    needs = (("engine", "node-image"), ("registry", "cluster"), ("component-images", "deploy"), ("deploy", "rollout"))
    for before, after in needs:
        assert names.index(before) < names.index(after)
