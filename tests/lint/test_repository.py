"""Rules of the repository that no linter knows. Each failure names file and line."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
GENERATED = ("virt/handler/devices/proto/",)
LIMIT = 400


def python_files(*folders: str) -> Iterator[Path]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if not str(path.relative_to(ROOT)).startswith(GENERATED):
                yield path


def test_modules_stay_small() -> None:
    long = [
        f"{path.relative_to(ROOT)}: {lines} lines, split it by concern"
        for path in python_files("virt", "cluster_up", "functests", "tests")
        if (lines := len(path.read_text().splitlines())) > LIMIT
    ]
    assert not long, "\n".join(long)


def test_modules_say_what_they_are_for() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in python_files("virt", "cluster_up", "functests")
        if path.name != "__init__.py" and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert not silent, f"no module docstring: {silent}"


def test_functional_tests_state_their_case() -> None:
    """Each functional test carries its catalogue id, and Preconditions, Steps and Expected."""
    faults = []
    for path in python_files("functests"):
        if not path.name.startswith("test_"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.FunctionDef) and node.name.startswith("test_")):
                continue
            where = f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
            marks = [ast.unparse(decorator) for decorator in node.decorator_list]
            if not any(re.fullmatch(r"pytest\.mark\.case\('[A-Z0-9]+-\d+'\)", mark) for mark in marks):
                faults.append(f"{where}: no pytest.mark.case")
            text = ast.get_docstring(node) or ""
            missing = [part for part in ("Preconditions:", "Steps:", "Expected:") if part not in text]
            if missing:
                faults.append(f"{where}: docstring lacks {missing}")
            if not any(isinstance(part, ast.Assert) for part in ast.walk(node)):
                faults.append(f"{where}: asserts nothing")
    assert not faults, "\n".join(faults)


def test_names_say_what_a_module_is() -> None:
    vague = [
        str(path.relative_to(ROOT))
        for path in python_files("virt", "cluster_up", "functests", "tests")
        if path.stem in ("utils", "util", "helpers", "common", "misc")
    ]
    assert not vague, vague


def test_links_in_the_docs_lead_somewhere() -> None:
    broken = []
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for number, line in enumerate(page.read_text().splitlines(), 1):
            for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", line):
                if not (page.parent / target).exists():
                    broken.append(f"{page.relative_to(ROOT)}:{number}: {target}")
    assert not broken, "\n".join(broken)


def test_the_docs_index_names_every_page() -> None:
    docs = ROOT / "docs"
    listed = set(re.findall(r"\]\(([^)#:\s]+\.md)\)", (docs / "README.md").read_text()))
    pages = {str(page.relative_to(docs)) for page in docs.rglob("*.md")} - {"README.md"}
    assert not pages - listed, f"docs/README.md lacks {sorted(pages - listed)}"


def test_every_error_reference_has_a_heading() -> None:
    """``reference = "word"`` in an error class is a promise of help in docs/troubleshooting.md."""
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    headings = set(re.findall(r"^## ([a-z0-9-]+)$", page, re.MULTILINE))
    missing = []
    for path in python_files("virt", "cluster_up"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ClassDef):
                continue
            for part in node.body:
                if (
                    isinstance(part, ast.Assign)
                    and ast.unparse(part.targets[0]) == "reference"
                    and isinstance(part.value, ast.Constant)
                    and str(part.value.value) not in headings
                ):
                    missing.append(f"{path.relative_to(ROOT)}:{part.lineno}: {part.value.value!s}")
    assert not missing, "\n".join(missing)
