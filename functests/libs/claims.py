"""Claims of one test that are all looked at before the first wrong one is told: a boot is dear, and serves several."""

from collections.abc import Iterable

Claim = tuple[str, object, object]      # what it is about, what was seen, what is expected


def wrong(claims: Iterable[Claim]) -> str:
    """One line for each claim that does not hold; "" when all do."""
    return "\n".join(f"{what}: {seen!r}, not {wanted!r}" for what, seen, wanted in claims if seen != wanted)
