"""Tests that had more guests at once than they declare. Admission gave that room to others, whose guests then wait for
a processor of a node: a failure of one test for what another one did.
"""

from collections.abc import Iterable, Mapping, Sequence

from functests.verdict.outcome import Report
from functests.verdict.records import Guest

NAMESPACE = "namespace"         # user property: of the test's own
DECLARED = "declared_vcpus"     # user property of a test that runs beside others


def overdrafts(reports: Mapping[str, Sequence[Report]], guests: Iterable[Guest]) -> list[str]:
    """A line for each such test. As the sampler saw them: a guest that lived shorter than a look may be missing."""
    by_namespace: dict[str, list[Guest]] = {}
    for guest in guests:
        by_namespace.setdefault(guest.namespace, []).append(guest)
    said = []
    for test, each in reports.items():
        known = {name: value for report in each for name, value in report.user_properties}
        had = peak(by_namespace.get(str(known.get(NAMESPACE, "")), ()))
        if DECLARED in known and had > int(known[DECLARED]):
            said.append(f"{test} had {had} vCPUs of guests at once and declares {known[DECLARED]}")
    return said


def peak(guests: Iterable[Guest]) -> int:
    """vCPUs of guests that were on a node, at the moment when they were most."""
    changes = []
    for guest in guests:
        if guest.node:
            changes += [(guest.running or guest.created, guest.vcpus), (guest.last_seen, -guest.vcpus)]
    now = most = 0
    for _, change in sorted(changes):
        now += change
        most = max(most, now)
    return most
