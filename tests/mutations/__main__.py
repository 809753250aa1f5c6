"""``python -m tests.mutations [ID...]``: apply each mutation, run the tests that should catch it, report survivors.

Prints a line for each and at the end one JSON object. Exit status 1 when one survived or broke. Outcomes are kept in
artifacts/mutations.json, so that a run may be made in parts (``--left``: those not caught yet).
"""

import argparse
import json
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import msgspec

from cluster_up.errors import ClusterError
from functests.verdict.plugin import revision
from tests.mutations import mutation as mutations
from tests.mutations import trial
from tests.mutations.mutation import Mutation
from tests.mutations.stage import ROOT, RealStage
from tests.mutations.trial import CAUGHT, Outcome

ARTIFACTS = ROOT / "artifacts"
KEPT = ARTIFACTS / "mutations.json"


class Record(msgspec.Struct, frozen=True):
    """An outcome, and when and at which revision of the source it came."""

    outcome: Outcome
    time: float
    revision: str


def kept(file: Path) -> dict[str, Record]:
    """The last outcome of each mutation by id; none when there is no file that can be read."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, Record])
    except (FileNotFoundError, msgspec.DecodeError):
        return {}


def keep(file: Path, records: dict[str, Record]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(msgspec.json.format(msgspec.json.encode(records), indent=1))


def summary(outcomes: Sequence[Outcome], left: Sequence[Mutation]) -> str:
    """One JSON object: ids by verdict, the share of those caught, and what was not begun."""
    by = {
        verdict: [outcome.id for outcome in outcomes if outcome.verdict == verdict]
        for verdict in (CAUGHT, trial.SURVIVED, trial.BROKEN)
    }
    return json.dumps({**by, "share": round(trial.share(outcomes), 3), "not_begun": [each.id for each in left]})


def line(outcome: Outcome) -> str:
    return f"{outcome.verdict:9} {outcome.id:18} {outcome.seconds:6.1f} s  {trial.first_line(outcome.by)}"


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description="Do the tests catch breakages?")
    parser.add_argument("id", nargs="*", help="mutations, or the beginning of their ids (compute, compute-1)")
    parser.add_argument("--list", action="store_true", help="show them, with their last outcome, and do nothing")
    parser.add_argument("--left", action="store_true", help="only those that were not caught yet")
    parser.add_argument("--unit", action="store_true", help="only those that unit tests catch: no cluster is needed")
    parser.add_argument("--name", default="", metavar="CLUSTER", help="the cluster; default: VIRT_CLUSTER_NAME")
    parser.add_argument("--minutes", type=float, default=0, help="begin no more after so long; 0: no limit")
    parser.add_argument("--no-baseline", action="store_true",
                        help="do not look first which of the tests are red on the product as it is")
    return parser.parse_args(argv)


def _listed(chosen: Sequence[Mutation], records: dict[str, Record]) -> None:
    for each in chosen:
        record = records.get(each.id)
        last = f"{record.outcome.verdict} at {record.revision}" if record else "never tried"
        print(f"{each.id:18} {last:26} {each.breaks}  [{' '.join(each.cases or each.tests)}]")


def main(argv: Sequence[str]) -> int:
    options = _options(argv)
    records = kept(KEPT)
    chosen = mutations.chosen(mutations.known(), options.id)
    if options.unit:
        chosen = [each for each in chosen if not each.needs_cluster]
    if options.left:
        chosen = [each for each in chosen if each.id not in records or records[each.id].outcome.verdict != CAUGHT]
    if options.list:
        _listed(chosen, records)
        return 0
    chosen.sort(key=lambda each: each.edits[0].file)        # a component after the other: fewer to roll out each time
    signal.signal(signal.SIGTERM, _stop)
    began, outcomes, source = time.monotonic(), list[Outcome](), revision(ROOT)
    stage = RealStage(options.name, ARTIFACTS / "mutations")

    def tell(outcome: Outcome) -> None:
        outcomes.append(outcome)
        print(line(outcome), flush=True)
        records[outcome.id] = Record(outcome, time.time(), source)
        keep(KEPT, records)

    try:
        red = {} if options.no_baseline else trial.baseline(chosen, stage)
        for test, headline in red.items():
            print(f"red without any mutation, left out: {test}: {headline}", flush=True)
        limit_s = options.minutes * 60 or float("inf")
        trial.trials(
            chosen, stage, tell, leave_out=tuple(red), time_left=lambda: time.monotonic() - began < limit_s
        )
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
    print(summary(outcomes, chosen[len(outcomes):]))
    return 0 if len(outcomes) == len(chosen) and all(each.verdict == CAUGHT for each in outcomes) else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except ClusterError as fault:
        print(fault, fault.hint, sep="\n", file=sys.stderr)
        sys.exit(fault.exit_code)
