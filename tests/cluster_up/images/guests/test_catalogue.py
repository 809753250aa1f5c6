"""Guest images: a reference follows its recipe, and the status has what a test needs to boot one."""

import shutil
from pathlib import Path

import pytest

from cluster_up import docker
from cluster_up.images.guests import catalogue, container, tiny
from cluster_up.images.recipe import RECIPES


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
        monkeypatch.setattr(container, "build", lambda tag, files, log: self.images.add(tag))


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
        engine.images.add(f"virt-guest-{name}:{catalogue.IMAGES[name].identity()}")
    entries = catalogue.build(catalogue.EARLY, catalogue.Context("here:1", lambda line: None))
    assert entries["tiny"]["reference"] == catalogue.reference("tiny", "here:1")
    kernel = entries["tiny-kernel"]
    assert {kernel["kernel_path"], kernel["initrd_path"]} <= set(catalogue.IMAGES["tiny-kernel"].files)
    assert [name for _, name in engine.pushed] == [entries[name]["reference"] for name in catalogue.EARLY]


def test_an_image_that_the_engine_has_is_not_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def make(log: object) -> Path:
        made.append("once")
        return Path("/nowhere")

    engine = Engine(monkeypatch)
    monkeypatch.setattr(catalogue, "IMAGES", {"odd": catalogue.Image({"/disk/disk.img": "x"}, lambda: "1", make)})
    context = catalogue.Context("here:1", lambda line: None)
    catalogue.build(("odd",), context)
    catalogue.build(("odd",), context)
    assert made == ["once"]
    assert len(engine.pushed) == 2


def test_files_belong_to_the_user_that_qemu_runs_as() -> None:
    assert container.dockerfile({"/disk/disk.img": "0"}) == "FROM scratch\nCOPY --chown=107:107 0 /disk/disk.img\n"
