"""``python -m functests.catalogue [AREA] [--no-missing]``: ends with 1 when a test's id does not exist."""

import argparse
import sys

from functests.catalogue import listing
from functests.verdict.history import History, file


def main(argv: list[str]) -> int:
    cases = listing.catalogue()
    areas = list(dict.fromkeys(case.area for case in cases.values()))
    parser = argparse.ArgumentParser(
        prog="python -m functests.catalogue", description="Functional cases: tested, missing, last red.")
    parser.add_argument(
        "area", nargs="?", type=str.upper, choices=areas, metavar="AREA", help=f"one of {', '.join(areas)}; else all")
    parser.add_argument("--no-missing", action="store_true", help="only the cases that have a test")
    given = parser.parse_args(argv)
    existing = listing.tested(listing.TESTS)
    good, red = History(file()).cases()
    text = listing.lines(cases, existing, good, red, area=given.area or "", missing=not given.no_missing)
    print("\n".join(text))
    unknown = listing.strangers(cases, existing)
    print("\n".join(unknown), file=sys.stderr, end="\n" if unknown else "")
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
