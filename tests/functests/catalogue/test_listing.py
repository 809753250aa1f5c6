"""The catalogue, and what is said of its cases."""

from pathlib import Path

import pytest

from functests.catalogue import listing
from functests.catalogue.__main__ import main
from functests.verdict.history import Red


def test_the_catalogue_is_whole_and_every_test_carries_an_id_of_it() -> None:
    cases = listing.catalogue()
    assert len(cases) > 800
    assert listing.strangers(cases, listing.tested(listing.TESTS)) == []
    assert not [case for case in cases.values() if len(case.title) > 60]


def test_tests_are_found_by_their_marks(tmp_path: Path) -> None:
    file = tmp_path / "functests" / "vnc" / "test_v.py"
    file.parent.mkdir(parents=True)
    file.write_text('@pytest.mark.case("VNC-001")\n@pytest.mark.serial\ndef test_a(): pass\ndef test_b(): pass\n')
    assert listing.tested(tmp_path / "functests") == {"VNC-001": ["functests/vnc/test_v.py::test_a"]}


@pytest.mark.parametrize("entry", ['VNC-001 = "x"', 'VNC-001 = [4, "x"]', 'VNC-001 = [1, ""]', 'CON-001 = [1, "x"]'])
def test_a_faulty_entry_is_refused(tmp_path: Path, entry: str) -> None:
    file = tmp_path / "catalogue.toml"
    file.write_text(f'[VNC]\nname = "screens"\n{entry}\n')
    with pytest.raises(ValueError, match=r"catalogue\.toml"):
        listing.catalogue(file)


def test_the_report_says_what_exists_what_is_red_and_what_is_missing() -> None:
    cases = {
        name: listing.Case(name, "VNC", tier, f"title {name}")
        for name, tier in (("VNC-001", 1), ("VNC-002", 2), ("VNC-003", 2), ("VNC-004", 1), ("VNC-005", 2))
    }
    existing = {name: [f"t.py::{name}"] for name in ("VNC-001", "VNC-002", "VNC-003")}
    red = {
        "VNC-001": Red("VNC-001", "t", 100.0, "r1", "failed", "no picture"),
        "VNC-002": Red("VNC-002", "t", 100.0, "r1", "leaked", "tap0"),
    }
    text = "\n".join(listing.lines(cases, existing, {"VNC-001": 200.0, "VNC-002": 50.0}, red))
    assert "VNC         1 of 2      2 of 3      0 of 0      3 of 5" in text
    assert "title VNC-001: good since; last red 1970-01-01 00:01 at r1: failed: no picture" in text
    assert "title VNC-002: RED; last red" in text
    assert "title VNC-003: never run here" in text
    assert text.index("VNC-004") < text.index("VNC-005"), "missing ones of tier 1 come first"


def test_an_area_that_is_none_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["xyz"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "'XYZ'" in said
    assert "LIF" in said
