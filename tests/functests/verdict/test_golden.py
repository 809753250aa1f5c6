"""The files of a verdict, beside files that were looked at. FUNCTEST_GOLDEN=write makes them anew."""

import os
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest

from functests.verdict import charts, junit, page, summary
from functests.verdict.records import Guest, Verdict
from tests.functests.verdict.made import T0, VERDICT

GOLDEN = Path(__file__).parent / "golden"
VOID = {"meta", "br", "img"}


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("verdict.json", lambda verdict: msgspec.json.format(msgspec.json.encode(verdict), indent=1).decode()),
        ("junit.xml", junit.document),
        ("summary.md", summary.document),
        ("verdict.html", page.document),
    ],
)
def test_files_are_as_they_were_looked_at(name: str, make: Callable[[Verdict], str]) -> None:
    made = make(VERDICT)
    file = GOLDEN / name
    if os.environ.get("FUNCTEST_GOLDEN") == "write" and "CI" not in os.environ:
        file.parent.mkdir(exist_ok=True)
        file.write_text(made)
    assert made == file.read_text()


def test_the_json_can_be_read_back() -> None:
    assert msgspec.json.decode(msgspec.json.encode(VERDICT), type=Verdict) == VERDICT


class Balance(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.asked: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.asked += [str(value) for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Closed at once: nothing to balance."""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_from_elsewhere() -> None:
    parser = Balance()
    parser.feed(page.document(VERDICT))
    assert parser.open == []
    assert not [place for place in parser.asked if "//" in place]


def test_an_empty_run_has_a_page_too() -> None:
    empty = Verdict(run="r", started=T0, seconds=0.0, exit_status=5)
    parser = Balance()
    parser.feed(page.document(empty))
    assert parser.open == []
    assert "no tests" in summary.document(empty)


def test_junit_counts_each_bad_thing_once() -> None:
    suite = ElementTree.fromstring(junit.document(VERDICT).encode())[0]
    assert suite.attrib["tests"] == "8"
    assert suite.attrib["failures"] == "1"
    assert suite.attrib["errors"] == "6"        # leaked, crashed, lost, not collected, fault of the run, orphan
    assert len(suite.findall(".//error")) == 6


def test_guests_share_a_lane_when_they_do_not_overlap() -> None:
    first, second, third = (
        Guest(name=name, namespace="n", created=created, last_seen=end)
        for name, created, end in (("a", 1.0, 5.0), ("b", 3.0, 9.0), ("c", 6.0, 8.0))
    )
    assert charts.lanes([third, first, second]) == [[first, third], [second]]


@pytest.mark.parametrize("span", [0.0, 0.4, 1.0, 7.0, 1300.0, 90000.0])
def test_axes_have_few_and_rising_marks(span: float) -> None:
    marks = charts.ticks(span)
    assert marks == sorted(set(marks))
    assert 1 <= len(marks) <= 9
    assert len(charts.moments(span)) <= 11
