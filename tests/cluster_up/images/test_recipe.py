"""The cache: complete or absent, and made once."""

from pathlib import Path

import pytest

from cluster_up.images import recipe


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "virt-harness"


def test_a_thing_is_made_once() -> None:
    calls: list[Path] = []

    def make(folder: Path) -> None:
        calls.append(folder)
        (folder / "file").write_text("x")

    first = recipe.made("thing", "1", make)
    assert recipe.made("thing", "1", make) == first
    assert len(calls) == 1
    assert (first / "file").read_text() == "x"


def test_an_interrupted_build_leaves_nothing_that_looks_finished(cache: Path) -> None:
    def make(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recipe.made("thing", "1", make)
    assert not recipe.is_made("thing", "1")
    assert not [path for path in cache.iterdir() if path.is_dir()]


def test_nobody_sees_a_build_before_it_is_whole() -> None:
    """Whatever kills it, even without a moment to clear up, leaves nothing under the final name."""
    seen = []

    def make(folder: Path) -> None:
        (folder / "half").write_text("x")
        seen.append((recipe.is_made("thing", "1"), recipe.place_of("thing", "1").exists()))

    recipe.made("thing", "1", make)
    assert seen == [(False, False)]


def test_what_a_killed_build_left_is_thrown_away(cache: Path) -> None:
    left = cache / "thing-1.part"
    left.mkdir(parents=True)
    (left / "half").write_text("x")
    place = recipe.made("thing", "1", lambda folder: (folder / "whole").touch())
    assert [path.name for path in place.iterdir()] == ["whole"]


def test_a_damaged_folder_is_said_and_made_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def make(folder: Path) -> None:
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_text("whole")

    place = recipe.made("thing", "1", make)
    for spoil, said in (
        (lambda: (place / "deep" / "file").write_text("who"), "has 3 bytes instead of 5"),
        (lambda: (place / "deep" / "file").unlink(), "is missing"),
    ):
        spoil()
        monkeypatch.setattr(recipe, "_whole", set[Path]())        # another process
        assert not recipe.is_made("thing", "1")
        assert (recipe.made("thing", "1", make) / "deep" / "file").read_text() == "whole"
        assert said in capsys.readouterr().err


def test_names_and_borders_count_in_a_digest(tmp_path: Path) -> None:
    for name, text in (("a", "x"), ("b", "x")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(text)
    assert recipe.digest("ab", "c") != recipe.digest("a", "bc")
    assert recipe.content(tmp_path / "a") != recipe.content(tmp_path / "b")
