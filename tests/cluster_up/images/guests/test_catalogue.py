"""Guest images: a reference follows its recipe, the status has what a test needs to boot one, tiny gets its kernel."""

import shutil
from pathlib import Path

import pytest

from cluster_up import docker
from cluster_up.exec import Log
from cluster_up.images.guests import catalogue, container, own_kernel, tiny
from cluster_up.images.recipe import RECIPES, place_of


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


class Engine:
    """Knows which images it has, and what was pushed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.images: set[str] = set()
        self.pushed: list[tuple[str, str]] = []
        monkeypatch.setattr(docker, "has_image", lambda tag: tag in self.images)
        monkeypatch.setattr(docker, "push", lambda image, name: self.pushed.append((image, name)))
        monkeypatch.setattr(container, "build", lambda tag, files: self.images.add(tag))


def test_a_changed_recipe_changes_the_reference(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = [catalogue.reference(name, "here:1") for name in catalogue.EARLY]
    recipe = tmp_path / "guests"
    shutil.copytree(RECIPES / "guests", recipe)
    (recipe / "tiny" / "start.c").write_text("int main(void) { return 1; }")
    monkeypatch.setattr(tiny, "_RECIPE", recipe)
    after = [catalogue.reference(name, "here:1") for name in catalogue.EARLY]
    assert not set(before) & set(after)


def test_the_registry_is_no_part_of_the_recipe() -> None:
    names = {catalogue.reference("tiny", registry).partition("/")[2] for registry in ("here:1", "there:2")}
    assert len(names) == 1


def test_the_status_says_how_to_boot_each(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(monkeypatch)
    for name in catalogue.EARLY:
        engine.images.add(f"virt-guest-{name}:{catalogue.IMAGES[name].now().identity}")
    entries = catalogue.build(catalogue.EARLY, catalogue.Context("here:1", lambda line: None))
    assert entries["tiny"]["reference"] == catalogue.reference("tiny", "here:1")
    kernel = entries["tiny-kernel"]
    assert {kernel["kernel_path"], kernel["initrd_path"]} <= set(catalogue.IMAGES["tiny-kernel"].files)
    assert [name for _, name in engine.pushed] == [entries[name]["reference"] for name in catalogue.EARLY]


def test_an_image_that_the_engine_has_is_not_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def make(log: Log) -> Path:
        made.append("once")
        return Path("/nowhere")

    engine = Engine(monkeypatch)
    recipe = catalogue.Recipe("1", make, {})
    image = catalogue.Image({"/disk/disk.img": "x"}, lambda: recipe, lambda: recipe, {})
    monkeypatch.setattr(catalogue, "IMAGES", {"odd": image})
    context = catalogue.Context("here:1", lambda line: None)
    catalogue.build(("odd",), context)
    catalogue.build(("odd",), context)
    assert made == ["once"]
    assert len(engine.pushed) == 2


def entries(engine: Engine, *, best: bool = False) -> dict[str, dict[str, str]]:
    """The status of what a first login needs, as if the engine had its images."""
    for name in catalogue.EARLY:
        image = catalogue.IMAGES[name]
        engine.images |= {f"virt-guest-{name}:{recipe().identity}" for recipe in (image.now, image.best)}
    return catalogue.build(catalogue.EARLY, catalogue.Context("here:1", lambda line: None), best=best)


def test_nobody_waits_for_the_own_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    now = entries(Engine(monkeypatch))
    assert {entry["kernel"] for entry in now.values()} == {"distribution"}
    best = entries(Engine(monkeypatch), best=True)
    assert {entry["kernel"] for entry in best.values()} == {"own"}
    for name in catalogue.EARLY:
        assert now[name]["reference"] == catalogue.reference(name, "here:1")
        assert best[name]["reference"] == catalogue.reference(name, "here:1", best=True) != now[name]["reference"]


@pytest.mark.parametrize("thing", ["guest-kernel", "guest-tiny"])
def test_a_kernel_that_was_compiled_is_used_at_once(monkeypatch: pytest.MonkeyPatch, thing: str) -> None:
    identities = {"guest-kernel": own_kernel.identity(), "guest-tiny": tiny.identity(tiny.Kernel.OWN)}
    place_of(thing, identities[thing]).mkdir(parents=True)
    now = entries(Engine(monkeypatch))
    assert {entry["kernel"] for entry in now.values()} == {"own"}
    assert now == entries(Engine(monkeypatch), best=True)


def test_another_kernel_is_another_guest_and_debians_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = {best: catalogue.reference("tiny", "here:1", best=best) for best in (False, True)}
    recipe = tmp_path / "kernel"
    shutil.copytree(RECIPES / "guests" / "kernel", recipe)
    with (recipe / "config").open("a") as config:
        config.write("CONFIG_TUN=y\n")
    monkeypatch.setattr(own_kernel, "_RECIPE", recipe)
    assert catalogue.reference("tiny", "here:1", best=True) != before[True]
    assert catalogue.reference("tiny", "here:1") == before[False]
