"""Durations as Go and Kubernetes write them: ``1h0m0s``, ``90s``, ``1.5h``, ``300ms``, ``0``."""

import re
from fractions import Fraction

from virt.base.errors import VirtError

_UNITS = {
    "h": Fraction(3600), "m": Fraction(60), "s": Fraction(1), "ms": Fraction(1, 10**3), "us": Fraction(1, 10**6),
    "µs": Fraction(1, 10**6), "ns": Fraction(1, 10**9),
}
_PART = re.compile(r"([0-9]{1,18}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})(ns|us|µs|ms|s|m|h)")
_WHOLE = re.compile(rf"[+-]?(?:0|(?:{_PART.pattern})+)")


class DurationError(VirtError, ValueError):
    """The text is no duration."""

    reference = "bad-duration"
    hint = "write numbers with units, for example 1h30m or 90s"


def seconds(text: str) -> float:
    """Raises DurationError."""
    if _WHOLE.fullmatch(text) is None:
        raise DurationError(f"{text[:80]!r} is not a duration")
    total = sum((Fraction(number.rstrip(".")) * _UNITS[unit] for number, unit in _PART.findall(text)), Fraction(0))
    return float(-total if text.startswith("-") else total)


def text(whole_seconds: int) -> str:
    """3661 -> "1h1m1s", 90 -> "1m30s", 5 -> "5s"."""
    minutes, second = divmod(whole_seconds, 60)
    hours, minute = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minute}m{second}s"
    return f"{minute}m{second}s" if minute else f"{second}s"
