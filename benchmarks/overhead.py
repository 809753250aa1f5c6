"""What the ledger and the recording cost each functional test, on the cluster that runs.

    VIRT_CLUSTER_NAME=dev python -m benchmarks.overhead

Prints one JSON object; seconds. ``ledger_s``: the looks before and after one test with a namespace. ``sampling_s``:
one look of the sampler at guests and nodes, of which a run makes one every few seconds. ``recording_s``: records,
history and all files of the verdict, for one of 150 tests. The bar is for what one test pays.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from functests.libs import cluster as clusters
from functests.libs import ledger_book, rest
from functests.libs.nodes import Nodes
from functests.verdict import write
from functests.verdict.history import History
from functests.verdict.outcome import record_of
from functests.verdict.records import Verdict
from functests.verdict.sampler import EVERY_S, Sampler

_TIMES = 20
_TESTS = 150
_BAR_S = 0.5


@dataclass
class Report:
    """As pytest's."""

    nodeid: str
    when: str | None
    outcome: str = "passed"
    longrepr: Any = None
    duration: float = 1.0
    start: float = 0.0
    user_properties: Any = (("case", "LIF-001"), ("ledger_s", 0.2))


def timed(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


def ledger_s(cluster: clusters.Cluster) -> list[float]:
    """Of tests that leave nothing: what each pays in all."""
    admin = rest.Rest(cluster.api)
    book = ledger_book.book_of(Nodes(cluster), admin)

    def test() -> None:
        page = book.open("benchmark")
        page.note(admin, "default")
        page.close()

    test()                  # shells on the nodes are opened once
    return [timed(test) for _ in range(_TIMES)]


def sampling_s(cluster: clusters.Cluster) -> list[float]:
    sampler, admin, nodes = Sampler(), rest.Rest(cluster.api), Nodes(cluster)
    sampler.sample(admin, nodes)        # shells on the nodes are opened once
    return [timed(lambda: sampler.sample(admin, nodes)) for _ in range(_TIMES)]


def recording_s() -> float:
    """For one test."""
    with tempfile.TemporaryDirectory(prefix="bench-overhead-") as folder:

        def record() -> None:
            names = [f"functests/area/test_file.py::test_{number}" for number in range(_TESTS)]
            parts = ("setup", "call", "teardown")
            tests = tuple(record_of(name, [Report(name, part) for part in parts]) for name in names)
            verdict = Verdict(run="benchmark", started=time.time(), seconds=1.0, exit_status=0, tests=tests)
            write.all_of(verdict, Path(folder) / "artifacts", History(Path(folder) / "history"))

        return timed(record) / _TESTS


def main() -> None:
    cluster = clusters.load()
    ledger, sampling, recording = ledger_s(cluster), sampling_s(cluster), recording_s()
    per_test = statistics.median(ledger) + recording
    figures = {
        "ledger_s": statistics.median(ledger), "ledger_most_s": max(ledger), "sampling_s": statistics.median(sampling),
        "sampled_every_s": EVERY_S, "recording_s": recording, "per_test_s": per_test, "bar_s": _BAR_S,
    }  # fmt: skip
    rounded = {name: round(value, 4) for name, value in figures.items()}
    print(json.dumps({**rounded, "good": per_test <= _BAR_S}, indent=1))


if __name__ == "__main__":
    main()
