"""``python -m tests.mutations [ID...]``: apply each mutation, run the tests that should catch it, report survivors.

Prints a line for each and at the end one JSON object. Exit status 1 when one survived or broke. Outcomes are kept
beside the history of test runs, for all work trees, so that a round may be made in parts (``--left``: those not caught
yet). What was seen of the tests on the product as it is holds as long as the source stays, and is in artifacts/.
"""

import argparse
import json
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from types import FrameType

from cluster_up.errors import ClusterError
from cluster_up.paths import state_root
from functests.verdict.history import History, file
from functests.verdict.plugin import revision
from tests.mutations import mutation as mutations
from tests.mutations import rounds, trial
from tests.mutations.mutation import Mutation
from tests.mutations.rounds import Baseline, Record
from tests.mutations.stage import ROOT, RealStage
from tests.mutations.trial import CAUGHT, Outcome

ARTIFACTS = ROOT / "artifacts"
KEPT, BASELINE = state_root() / "mutations.json", ARTIFACTS / "mutations-baseline.json"


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
    parser.add_argument("--catalogue", action="store_true", help="only those that the catalogue of cases lists")
    parser.add_argument("--unit", action="store_true", help="only those that unit tests catch: no cluster is needed")
    parser.add_argument("--name", default="", metavar="CLUSTER", help="the cluster; default: VIRT_CLUSTER_NAME")
    parser.add_argument("--minutes", type=float, default=0, help="begin no more after so long; 0: no limit")
    parser.add_argument("--no-baseline", action="store_true",
                        help="do not look first which of the tests are red on the product as it is")
    return parser.parse_args(argv)


def selected(
    options: argparse.Namespace, known: Mapping[str, Mutation], records: Mapping[str, Record]
) -> list[Mutation]:
    """Those asked for, one component after the other, so that few are rolled out each time. Raises MutationError."""
    chosen = mutations.chosen(known, options.id)
    if options.catalogue:
        chosen = [each for each in chosen if each.is_of_catalogue]
    if options.unit:
        chosen = [each for each in chosen if not each.needs_cluster]
    if options.left:
        chosen = [each for each in chosen if each.id not in records or records[each.id].outcome.verdict != CAUGHT]
    return sorted(chosen, key=lambda each: each.edits[0].file)


def _listed(chosen: Sequence[Mutation], records: Mapping[str, Record]) -> None:
    for each in chosen:
        record = records.get(each.id)
        last = f"{record.outcome.verdict} at {record.revision}" if record else "never tried"
        print(f"{each.id:18} {last:26} {each.breaks}  [{' '.join(each.cases or each.tests)}]")


def _looked(chosen: Sequence[Mutation], stage: RealStage, source: str) -> Baseline:
    """The tests of ``chosen`` on the product as it is; what is known of them at this revision is not run again."""
    known = rounds.kept_baseline(BASELINE).at(source)
    outcomes = {} if source.endswith("+") else History(file()).outcomes(source)
    stage.boot_s = known.boot_s

    def left(nodes: Sequence[str]) -> Sequence[str]:
        # Without a measured boot each mutation would measure one, on a broken product.
        return known.left(nodes, outcomes) or ([] if stage.boot_s else nodes[:1])

    look = trial.looks(chosen, stage, left)
    if look.nodes:
        known = known.more(look.nodes, look.red, stage.boot_s)
        rounds.keep(BASELINE, known)
    return known


def main(argv: Sequence[str]) -> int:
    options, known = _options(argv), mutations.known()
    records = rounds.kept(KEPT)
    chosen = selected(options, known, records)
    seconds = [rounds.estimate_s(each, records, known) for each in chosen]
    if options.list:
        _listed(chosen, records)
    print(f"{len(chosen)} mutations, about {sum(seconds) / 60:.0f} min; "
          f"{sum(each.id in records for each in chosen)} of them were tried before", flush=True)  # fmt: skip
    if options.list:
        return 0
    signal.signal(signal.SIGTERM, _stop)
    began, outcomes, source = time.monotonic(), list[Outcome](), revision(ROOT)
    limit_s = options.minutes * 60 or float("inf")
    stage = RealStage(options.name, ARTIFACTS / "mutations")

    def tell(outcome: Outcome) -> None:
        outcomes.append(outcome)
        print(line(outcome), flush=True)
        rounds.add(KEPT, Record(outcome, time.time(), source))

    try:
        soon = rounds.fitting(chosen, seconds, limit_s)
        red = {} if options.no_baseline else _looked(soon, stage, source).red
        for test, headline in red.items():
            print(f"red without any mutation, left out: {test}: {headline}", flush=True)
        trial.trials(
            soon, stage, tell, leave_out=tuple(red), time_left=lambda: time.monotonic() - began < limit_s
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
