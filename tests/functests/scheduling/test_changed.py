"""Which tests a change affects."""

import pytest

from functests.scheduling import changed
from functests.scheduling.changed import affected

SOURCES = {
    "functests/libs/evidence.py": "import json\n",
    "functests/fixtures/space.py": "from functests.libs import evidence, middle\n",
    "functests/conftest.py": "from functests.fixtures.space import space\n",
    "functests/libs/deep.py": "import json\n",
    "functests/libs/middle.py": "from functests.libs import deep\n",
    "functests/console/test_a.py": "from functests.libs.middle import thing\n",
    "functests/storage/test_b.py": "import json\n",
    "functests/admission/test_c.py": "",
}


def test_a_test_file_affects_itself() -> None:
    assert affected(["functests/storage/test_b.py"], SOURCES) == ["functests/storage/test_b.py"]


def test_a_helper_affects_all_that_use_it_over_others() -> None:
    assert affected(["functests/libs/deep.py"], SOURCES) == ["functests/console/test_a.py"]


def test_product_code_affects_its_areas_and_its_base_everything() -> None:
    assert affected(["virt/webhooks/vmi.py"], SOURCES) == ["functests/admission/test_c.py"]
    assert len(affected(["virt/base/waiting.py"], SOURCES)) == 3


def test_each_area_is_affected_by_some_part_of_the_product_and_each_part_exists() -> None:
    """The suite's own tools are no part of it: they are affected by themselves."""
    there = {path.parent.name for path in (changed.ROOT / "functests").glob("*/test_*.py")} - {"harness"}
    assert there == {area for _, areas in changed.AREAS for area in areas} - {""}
    assert [prefix for prefix, _ in changed.AREAS if not (changed.ROOT / prefix).exists()] == []


def test_what_no_test_sees_affects_none() -> None:
    assert affected(["README.md", "tests/virt/test_x.py"], SOURCES) == []


def test_a_helper_that_only_the_fixtures_use_affects_every_test() -> None:
    assert len(affected(["functests/libs/evidence.py"], SOURCES)) == 3


def test_a_file_that_is_no_python_affects_its_folder_and_a_deleted_one_nothing() -> None:
    assert affected(["functests/storage/disk.json"], SOURCES) == ["functests/storage/test_b.py"]
    assert affected(["functests/storage/test_gone.py"], SOURCES) == []


@pytest.mark.runs_processes
def test_an_unknown_base_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["changed", "--base", "no-such-branch"])
    assert changed.main() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "BASE=no-such-branch" in line


def test_a_source_that_cannot_be_read_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(files: object, sources: object) -> list[str]:
        compile("def x(:", "functests/libs/x.py", "exec")
        return []

    monkeypatch.setattr(changed, "changed_files", lambda base: [])
    monkeypatch.setattr(changed, "affected", broken)
    monkeypatch.setattr("sys.argv", ["changed"])
    assert changed.main() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("functests/libs/x.py:1: ")


def test_without_a_change_it_says_so_and_is_good(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changed, "changed_files", lambda base: [])
    monkeypatch.setattr("sys.argv", ["changed"])
    assert changed.main() == 0
    assert capsys.readouterr().out.splitlines() == ["nothing that the functional tests see has changed since main"]
