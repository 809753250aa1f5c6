"""When the guests of a first login are done: with any kernel that they may have now, and whole in the registry."""

from pathlib import Path

import pytest

from cluster_up import progress
from cluster_up.actions.guest_images import STEP
from cluster_up.actions.step import Run
from cluster_up.config.types import Config
from cluster_up.images import guests, store
from cluster_up.images.guests import own_kernel
from cluster_up.images.recipe import place_of
from cluster_up.providers.kind import KindProvider
from cluster_up.state import State


@pytest.fixture(autouse=True)
def damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What the registry's store lacks."""
    lacking: list[Path] = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(store, "faults", lambda image: lacking)
    return lacking


def is_done(*, best: bool) -> bool:
    """For a cluster that has these images."""
    entries = {name: {"reference": guests.reference(name, "localhost:5000", best=best)} for name in guests.EARLY}
    return with_images(entries)


def with_images(entries: dict[str, dict[str, str]]) -> bool:
    state = State(name="t", registry_port=5000, guest_images=entries)
    with progress.reporter() as report:
        return STEP.is_done(Run(Config(name="t"), state, KindProvider("t"), report))


def test_a_cluster_without_images_is_not_done() -> None:
    assert not with_images({})
    assert not with_images({name: {"reference": "localhost:5000/guest-tiny:other"} for name in guests.EARLY})


def test_the_distributions_kernel_does_until_the_own_one_is_compiled() -> None:
    entries = {name: {"reference": guests.reference(name, "localhost:5000")} for name in guests.EARLY}
    assert with_images(entries)
    place_of("guest-kernel", own_kernel.identity()).mkdir(parents=True)
    assert not with_images(entries)


def test_a_cluster_does_not_go_back_to_the_distributions_kernel_when_the_cache_is_emptied(damaged: list[Path]) -> None:
    assert is_done(best=True)
    damaged.append(Path("layer"))
    assert not is_done(best=True)
