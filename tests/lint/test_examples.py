"""Examples in docstrings say what really comes out."""

import doctest
import importlib
import re

import pytest

from tests.lint.test_repository import ROOT, python_files

WITH_EXAMPLES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in python_files("virt", "cluster_up", "functests", "tests", "benchmarks")
    if re.search(r"^ +>>> ", path.read_text(), re.MULTILINE)
]


def test_examples_are_found() -> None:
    assert "cluster_up.providers.capacity" in WITH_EXAMPLES


@pytest.mark.parametrize("name", [name.removesuffix(".__init__") for name in WITH_EXAMPLES])
def test_examples_are_true(name: str) -> None:
    said: list[str] = []
    runner = doctest.DocTestRunner()
    for example in doctest.DocTestFinder().find(importlib.import_module(name)):
        runner.run(example, out=said.append)
    assert runner.tries, f"{name}: its examples are in no docstring"
    assert not said, "".join(said)
