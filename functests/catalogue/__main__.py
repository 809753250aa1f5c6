"""``python -m functests.catalogue [AREA] [--no-missing]``: ends with 1 when a test's id does not exist."""

import sys

from functests.catalogue import listing
from functests.verdict.history import History, file


def main(argv: list[str]) -> int:
    areas = [word.upper() for word in argv if not word.startswith("-")]
    cases, existing = listing.catalogue(), listing.tested(listing.TESTS)
    good, red = History(file()).cases()
    text = listing.lines(cases, existing, good, red, area="".join(areas[:1]), missing="--no-missing" not in argv)
    print("\n".join(text))
    unknown = listing.strangers(cases, existing)
    print("\n".join(unknown), file=sys.stderr, end="\n" if unknown else "")
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
