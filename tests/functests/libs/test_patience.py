"""The length of a boot is measured once and scales every wait."""

from pathlib import Path

import pytest

from functests.libs import patience


@pytest.fixture(autouse=True)
def uncalibrated(monkeypatch: pytest.MonkeyPatch) -> None:
    # Set first, so that the value that a test leaves behind is taken away again.
    monkeypatch.setenv(patience.VARIABLE, "1")
    monkeypatch.delenv(patience.VARIABLE)


def test_waits_are_multiples_of_the_boot_and_of_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(patience.VARIABLE, "10")
    monkeypatch.setattr("os.getloadavg", lambda: (80.0, 80.0, 80.0))
    assert (patience.boots(1), patience.boots(2)) == (60, 120)
    monkeypatch.setenv(patience.VARIABLE, "0.1")
    assert patience.boots(1) == patience.LEAST_S, "a fast machine has the least time too"


def test_the_second_worker_reads_what_the_first_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "boot"
    patience.calibrate(file, lambda: 12.345)
    assert patience.boots(2) == pytest.approx(2 * 6 * 12.35, abs=0.1)

    monkeypatch.delenv(patience.VARIABLE)
    patience.calibrate(file, lambda: pytest.fail("measured twice"))
    assert patience.boot_s() == pytest.approx(12.35, abs=0.01)


def test_a_value_set_by_hand_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(patience.VARIABLE, "3")
    patience.calibrate(tmp_path / "boot", lambda: pytest.fail("measured"))
    assert patience.boot_s() == 3


def test_quiet_fails_on_noise_only() -> None:
    patience.quiet("nothing", lambda: "", bool, for_s=0.05, every_s=0.01)
    with pytest.raises(AssertionError, match="a bang: 'bang'"):
        patience.quiet("a bang", lambda: "bang", bool, for_s=0.05, every_s=0.01)


def test_the_limit_of_a_test_grows_with_the_boot_and_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    for boot, wanted in (("1", 420), ("6", 420), ("12", 840), ("60", 1260)):
        monkeypatch.setenv(patience.VARIABLE, boot)
        assert patience.limit(420) == wanted
