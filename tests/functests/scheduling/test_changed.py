"""Which tests a change affects."""

from pathlib import Path

import pytest

from cluster_up import exec as host
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
    assert len(affected(["cluster_up/images/recipes/guests/tiny/init"], SOURCES)) == 3, "every guest is made of it"


def test_each_area_is_affected_by_some_part_of_the_product_and_each_part_exists() -> None:
    """The suite's own tools are no part of it: they are affected by themselves."""
    there = {path.parent.name for path in (changed.ROOT / "functests").glob("*/test_*.py")} - {"harness"}
    assert there == {area for _, areas in changed.AREAS for area in areas} - {""}
    assert [prefix for prefix, _ in changed.AREAS if not (changed.ROOT / prefix).exists()] == []


def test_what_no_test_sees_affects_none() -> None:
    assert affected(["README.md", "tests/virt/test_x.py"], SOURCES) == []


def test_a_helper_that_only_the_fixtures_use_affects_every_test() -> None:
    assert len(affected(["functests/libs/evidence.py"], SOURCES)) == 3


def test_what_a_folders_own_fixtures_use_affects_its_tests() -> None:
    sources = {**SOURCES, "functests/storage/conftest.py": "from functests.libs import deep\n"}
    assert affected(["functests/storage/conftest.py"], sources) == ["functests/storage/test_b.py"]
    assert affected(["functests/libs/deep.py"], sources) == [
        "functests/console/test_a.py", "functests/storage/test_b.py"]


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


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A work tree on a branch that left ``main`` before its last commit. ``SOURCES`` are in it."""

    def git(*words: str) -> None:
        who = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        host.run(["git", *who, *words], deadline_s=30, cwd=tmp_path)

    monkeypatch.setattr(changed, "ROOT", tmp_path)
    git("init", "-q", "-b", "main")
    texts = {**SOURCES, "virt/webhooks/vmi.py": "", "virt/base/gone.py": "", ".gitignore": "artifacts"}
    for path, text in texts.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    git("add", ".")
    git("commit", "-q", "-m", "first")
    git("checkout", "-q", "-b", "work")
    (tmp_path / "virt/webhooks/vmi.py").write_text("x = 1\n")
    git("commit", "-q", "-a", "-m", "of the branch")
    git("checkout", "-q", "main")
    (tmp_path / "functests/storage/test_b.py").write_text("x = 1\n")
    git("commit", "-q", "-a", "-m", "of others")
    git("checkout", "-q", "work")
    return tmp_path


@pytest.mark.runs_processes
def test_what_the_branch_has_changed_is_its_commits_and_what_is_not_committed_yet(repository: Path) -> None:
    assert changed.changed_files("main") == ["virt/webhooks/vmi.py"], "what others did to main is no change of this one"
    assert changed.chosen("main") == ["functests/admission/test_c.py"]
    (repository / "functests/libs/deep.py").write_text("import re\n")
    (repository / "virt/base/gone.py").unlink()
    (repository / "functests/console/größe 1.json").write_text("{}")
    (repository / "functests/console/test_new.py").write_text("from functests.libs import middle\n")
    (repository / "artifacts").mkdir()
    (repository / "artifacts/page.html").write_text("")
    assert changed.changed_files("main") == [
        "functests/console/größe 1.json", "functests/console/test_new.py", "functests/libs/deep.py",
        "virt/base/gone.py", "virt/webhooks/vmi.py"]
    assert changed.chosen("main") == [
        "functests/admission/test_c.py", "functests/console/test_a.py", "functests/console/test_new.py",
        "functests/storage/test_b.py"], "the base of the product is seen by every test"


@pytest.mark.runs_processes
def test_a_change_that_cannot_be_parsed_or_has_no_base_is_one_line(repository: Path) -> None:
    with pytest.raises(changed.Unknown, match="BASE=nowhere"):
        changed.chosen("nowhere")
    (repository / "functests/console/test_new.py").write_text("def x(:\n")
    with pytest.raises(changed.Unknown, match=r"test_new\.py:1: "):
        changed.chosen("main")
