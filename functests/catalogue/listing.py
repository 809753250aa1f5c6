"""Cases of the catalogue beside the tests that carry their ids. Read from source, so nothing needs to be imported."""

import ast
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from functests.verdict.history import Red

FILE = Path(__file__).with_name("catalogue.toml")
TESTS = Path(__file__).parents[1]


@dataclass(frozen=True)
class Case:
    id: str
    area: str
    tier: int
    title: str


def catalogue(file: Path = FILE) -> dict[str, Case]:
    """All cases by id, in the catalogue's order. Raises ValueError for an entry that is not [tier, title]."""
    found = {}
    for area, entries in tomllib.loads(file.read_text()).items():
        for key, value in entries.items():
            if key == "name":
                continue
            if not (isinstance(value, list) and len(value) == 2 and value[0] in (1, 2, 3) and value[1]):
                raise ValueError(f"{file.name}: {key} is not [tier, title]: {value!r}")
            if key.rpartition("-")[0] != area:
                raise ValueError(f"{file.name}: {key} stands under {area}")
            found[key] = Case(key, area, value[0], value[1])
    return found


def _marks(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """(case, test function) for each ``@pytest.mark.case("...")``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.case" and mark.args:
                    value = mark.args[0]
                    if isinstance(value, ast.Constant):
                        yield str(value.value), node.name


def tested(folder: Path) -> dict[str, list[str]]:
    """Test functions by the id of their case."""
    found: dict[str, list[str]] = {}
    for file in sorted(folder.rglob("test_*.py")):
        for case, function in _marks(ast.parse(file.read_text())):
            found.setdefault(case, []).append(f"{file.relative_to(folder.parent)}::{function}")
    return found


def _day(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"


def _state(case: str, good: Mapping[str, float], red: Mapping[str, Red]) -> str:
    """What the history says of a case that has tests."""
    last = red.get(case)
    if last is None:
        return f"good {_day(good[case])}, never red here" if case in good else "never run here"
    now = "good since" if good.get(case, 0.0) > last.started else "RED"
    why = f"{last.outcome}: {last.headline}"[:110]
    return f"{now}; last red {_day(last.started)} at {last.revision or '?'}: {why}"


def lines(
    cases: Mapping[str, Case], existing: Mapping[str, list[str]], good: Mapping[str, float], red: Mapping[str, Red],
    *, area: str = "", missing: bool = True,
) -> Iterator[str]:
    """The report: a line of numbers per area, cases that have tests with their last red, and those that have none."""
    chosen = [case for case in cases.values() if area in ("", case.area)]
    areas = list(dict.fromkeys(case.area for case in chosen))
    yield f"{'area':6}{'tier 1':>12}{'tier 2':>12}{'tier 3':>12}{'all':>12}"
    for name in [*areas, *(["all"] if len(areas) > 1 else [])]:
        own = [case for case in chosen if name in ("all", case.area)]
        cells = [
            f"{sum(case.id in existing for case in group)} of {len(group)}"
            for group in (*([case for case in own if case.tier == tier] for tier in (1, 2, 3)), own)
        ]
        yield f"{name:6}" + "".join(f"{cell:>12}" for cell in cells)
    yield ""
    for case in chosen:
        if case.id in existing:
            yield f"{case.id:9} t{case.tier}  {case.title}: {_state(case.id, good, red)}"
            yield from (f"{'':15}{test}" for test in existing[case.id])
    if missing:
        yield ""
        yield "without a test:"
        for case in sorted((case for case in chosen if case.id not in existing), key=lambda case: case.tier):
            yield f"{case.id:9} t{case.tier}  {case.title}"


def strangers(cases: Mapping[str, Case], existing: Mapping[str, list[str]]) -> list[str]:
    """Tests whose id is in no catalogue."""
    unknown = [case for case in existing if case not in cases]
    return [f"{test}: {case} is not in {FILE.name}" for case in unknown for test in existing[case]]
