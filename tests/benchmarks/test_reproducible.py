"""The check that a guest image can be made again: it must see one byte, one file more, and name the first."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import reproducible
from benchmarks.reproducible import Built
from cluster_up.exec import Log
from cluster_up.images import recipe
from cluster_up.images.guests import catalogue


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_CACHE_HOME", "TZ"):
        monkeypatch.setenv(name, os.environ.get(name, ""))      # put back afterwards, whatever the check sets


def built(root: Path, files: dict[str, bytes], images: dict[str, str] | None = None) -> Built:
    for name, data in files.items():
        path = root / "guest-x-1" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return Built(root, reproducible.hashes(root), images or {}, 1.0)


def test_the_same_files_and_images_are_no_difference(tmp_path: Path) -> None:
    sides = [built(tmp_path / name, {"a": b"1", "sub/b": b"2"}, {"x": "sha256:1"}) for name in ("1", "2")]
    assert set(sides[0].files) == {"guest-x-1/a", "guest-x-1/sub/b"}
    assert reproducible.difference(sides[0], sides[1]) is None
    assert reproducible.document("tiny", sides[0], sides[1])["same"] is True


def test_the_first_file_that_differs_is_named_with_its_first_byte(tmp_path: Path) -> None:
    big = b"x" * (2 * 1024 * 1024 + 7)
    first = built(tmp_path / "1", {"a": b"same", "b": big + b"1" + b"tail", "c": b"1"})
    second = built(tmp_path / "2", {"a": b"same", "b": big + b"2" + b"tail", "c": b"2"})
    length = len(big) + 5
    wanted = {"file": "guest-x-1/b", "bytes": [length, length], "first_byte": len(big)}
    assert reproducible.difference(first, second) == wanted
    assert reproducible.document("tiny", first, second)["differs"] == wanted


def test_the_end_of_a_shorter_file_is_a_difference(tmp_path: Path) -> None:
    first, second = built(tmp_path / "1", {"a": b"123"}), built(tmp_path / "2", {"a": b"12345"})
    assert reproducible.difference(first, second) == {"file": "guest-x-1/a", "bytes": [3, 5], "first_byte": 3}


def test_a_file_that_only_one_build_has_is_a_difference(tmp_path: Path) -> None:
    first, second = built(tmp_path / "1", {"b": b"1"}), built(tmp_path / "2", {"a": b"12", "b": b"1"})
    assert reproducible.difference(first, second) == {"file": "guest-x-1/a", "bytes": [None, 2], "first_byte": None}


def test_an_image_may_differ_where_the_files_do_not(tmp_path: Path) -> None:
    first, second = (built(tmp_path / name, {"a": b"1"}, {"x": f"sha256:{name}"}) for name in ("1", "2"))
    assert reproducible.difference(first, second) == {"image": "x", "ids": ["sha256:1", "sha256:2"]}


def test_what_a_build_fetched_is_not_compared(tmp_path: Path) -> None:
    (tmp_path / "root-guest-x-1").mkdir()
    (tmp_path / "root-guest-x-1" / "root.tar").write_bytes(b"1")
    assert reproducible.hashes(tmp_path) == {}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A guest ``odd`` whose file has what the test puts here, one per build; "" for the path of its cache."""
    said: list[str] = []

    def make(log: Log) -> Path:
        def fill(place: Path) -> None:
            (place / "disk.img").write_text(said.pop(0) or str(place))

        return recipe.made("guest-odd", "1", fill)

    one = catalogue.Recipe("1", make, {})
    image = catalogue.Image({"/disk/disk.img": "disk.img"}, lambda: one, lambda: one, {})
    monkeypatch.setattr(catalogue, "IMAGES", {"odd": image})
    monkeypatch.setattr(reproducible, "GUESTS", {"odd": (("odd",), True)})
    yield said
    assert said == []           # two builds were made


@pytest.mark.parametrize(("contents", "code"), [(("a", "a"), 0), (("a", "b"), 1), (("", ""), 1)])
def test_each_build_is_made_anew_and_the_exit_code_tells(
    clock: list[str], contents: tuple[str, str], code: int, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    clock += contents
    monkeypatch.setattr(sys, "argv", ["reproducible", "odd"])
    with pytest.raises(SystemExit) as end:
        reproducible.main()
    assert end.value.code == code
    found = json.loads(capsys.readouterr().out)
    assert found["same"] is (code == 0)
    assert list(found["files"]) == ["guest-odd-1/disk.img"]
    assert found["images"]["odd"].startswith("sha256:")


def test_what_is_kept_stays_and_a_folder_in_use_is_refused(
    clock: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock += ["a", "a"]
    monkeypatch.setattr(sys, "argv", ["reproducible", "odd", "--keep", str(tmp_path / "kept")])
    with pytest.raises(SystemExit):
        reproducible.main()
    kept = sorted(str(path.relative_to(tmp_path / "kept")) for path in (tmp_path / "kept").rglob("disk.img"))
    assert kept == [f"{name}/virt-harness/guest-odd-1/disk.img" for name in ("first", "the-second")]
    with pytest.raises(SystemExit, match="is not empty"):
        reproducible.main()
