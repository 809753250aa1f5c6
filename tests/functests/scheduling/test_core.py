"""The core of lane sriov: when it runs, and what is left out is said."""

from collections.abc import Sequence

import pytest

from functests.scheduling import core, lanes


class Commands:
    def __init__(self, *codes: int) -> None:
        self.left = [*codes]
        self.ran: list[str] = []

    def __call__(self, argv: Sequence[str]) -> int:
        self.ran.append(" ".join(argv[1:]))
        return self.left.pop(0)


def test_it_adds_the_worker_and_runs_its_lane() -> None:
    commands = Commands(0, 3)
    assert core.main(commands, lambda: core.NEEDED_MIB) == 3
    assert commands.ran == ["-m cluster_up up --machines 1", "-m pytest functests --lane sriov-core"]
    assert core.LANE in lanes.LANES


def test_without_the_worker_there_are_no_tests() -> None:
    commands = Commands(1)
    assert core.main(commands, lambda: core.NEEDED_MIB) == 1
    assert len(commands.ran) == 1


def test_where_there_is_no_room_nothing_runs_and_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert core.main(Commands(), lambda: 8000) == 0
    assert capsys.readouterr().out == (
        "lane sriov-core is left out: 8000 MiB are free, its worker and guests need 8192\n")
