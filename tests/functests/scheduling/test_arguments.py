"""Mistakes at the command line: each is one line that names what was asked and says what to write."""

from pathlib import Path

import pytest

from functests.scheduling import arguments
from tests.functests.scheduling.conftest import Inner


@pytest.mark.parametrize("text", ["0", "-1", "abc", "", "1.5"])
def test_a_bad_number(text: str) -> None:
    assert f"N={text} " in arguments.repeat(text)


@pytest.mark.parametrize("text", ["console and", "(console", "a b"])
def test_a_bad_expression(text: str) -> None:
    assert arguments.keyword(text).startswith(f"FILTER={text} (-k): ")


def test_good_ones(tmp_path: Path) -> None:
    (tmp_path / "test_x.py").touch()
    told = [
        arguments.repeat("20"), arguments.keyword(""), arguments.keyword("console and not stream"),
        arguments.lane(None), arguments.lane("tier1"), arguments.paths(["test_x.py::test_a", "."], tmp_path),
    ]
    assert set(told) == {""}


def test_a_lane_that_is_none_names_those_that_are() -> None:
    assert "tier1" in arguments.lane("tier9")


@pytest.mark.runs_processes
@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--lane", "tier9"), "LANE=tier9"),
        (("--repeat", "abc"), "N=abc"),
        (("-k", "a and"), "FILTER=a and"),
        (("functests/test_gone.py",), "functests/test_gone.py"),
    ],
)
def test_a_mistake_is_one_line_before_any_worker_starts(inner: Inner, words: tuple[str, ...], named: str) -> None:
    inner.write(one="def test_it(): pass\n")
    result = inner.run("-n2", *words)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = [text for text in (*result.errlines, *result.outlines) if text.strip()]
    assert named in line


@pytest.mark.runs_processes
@pytest.mark.timeout(300)
def test_a_filter_that_no_test_fits_is_told(inner: Inner) -> None:
    inner.write(one="def test_it(): pass\n")
    result = inner.run("-n1", "-k", "nothing_like_it")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["no test fits FILTER=nothing_like_it"])
