from collections.abc import Iterator

from benchmarks import progress


def run(seconds: list[float], count: int) -> list[str]:
    times: Iterator[float] = iter(seconds)
    said: list[str] = []
    assert list(progress.each("moves", count, clock=lambda: next(times), say=said.append)) == list(range(count))
    return said


def test_who_waits_is_told_how_far_it_is_and_when_it_may_end() -> None:
    assert run([0, 0, 60, 120, 180], 3) == [
        "moves: 1 of 3 after 60 s, about 2 min 00 s left", "moves: 2 of 3 after 2 min 00 s, about 60 s left",
        "moves: 3 of 3 after 3 min 00 s"]


def test_what_is_quick_is_told_once_in_ten_seconds() -> None:
    assert run([0, 0, 4, 8, 12, 16, 20], 5) == [
        "moves: 3 of 5 after 12 s, about 8 s left", "moves: 5 of 5 after 20 s"]
