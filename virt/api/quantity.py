"""Kubernetes quantities: ``100m``, ``1.5``, ``64Mi``, ``2e3``. Exact arithmetic, no floats.

The grammar and the limits (at most 2**63-1, at least one thousandth of a millionth) are those of
https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/.
"""

import re
from collections.abc import Mapping
from fractions import Fraction

from virt.api.wire import Quantity
from virt.base.errors import VirtError

PATTERN = (
    r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$"
)

MIB, GIB = 1 << 20, 1 << 30

_TEXT = re.compile(
    r"(?P<sign>[+-]?)(?P<number>[0-9]+\.?[0-9]*|\.[0-9]+)(?P<suffix>[KMGTPE]i|[numkMGTPE]|[eE](?P<exponent>[+-]?[0-9]+))?",
    re.ASCII,
)
_BINARY = ("Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_SCALES: Mapping[str, Fraction] = {
    "": Fraction(1),
    "n": Fraction(1, 10**9), "u": Fraction(1, 10**6), "m": Fraction(1, 1000),
    **{suffix: Fraction(10 ** (3 * power)) for power, suffix in enumerate("kMGTPE", start=1)},
    **{suffix: Fraction(1 << (10 * power)) for power, suffix in enumerate(_BINARY, start=1)},
}
_LARGEST = Fraction(2**63 - 1)
_SMALLEST = Fraction(1, 10**9)
_DIGITS = 64            # of the number, and the exponent's bound: keeps hostile input cheap


class QuantityError(VirtError, ValueError):
    """The text is no quantity."""

    reference = "bad-quantity"
    hint = "write a number with an optional suffix, for example 100m, 2 or 64Mi"


def parse(quantity: Quantity) -> Fraction:
    """The exact value, cut to what Kubernetes can hold. Raises QuantityError."""
    match = _TEXT.fullmatch(str(quantity))
    if match is None or len(match["number"]) > _DIGITS or len(match["exponent"] or "") > _DIGITS:
        raise QuantityError(f"{str(quantity)[:80]!r} is not a quantity")
    number = Fraction(match["number"].rstrip("."))
    if match["exponent"] is not None:
        number *= Fraction(10) ** max(-_DIGITS, min(_DIGITS, int(match["exponent"])))
    else:
        number *= _SCALES[match["suffix"] or ""]
    number = min(number, _LARGEST)
    if 0 < number < _SMALLEST:
        number = _SMALLEST
    return -number if match["sign"] == "-" else number


def integer(quantity: Quantity) -> int:
    """The value rounded up: bytes of a memory quantity, whole CPUs of a CPU quantity. Raises QuantityError."""
    return _ceil(parse(quantity))


def milli(quantity: Quantity) -> int:
    """Thousandths, rounded up: the usual form of CPU quantities. Raises QuantityError."""
    return _ceil(parse(quantity) * 1000)


def of_bytes(count: int) -> str:
    """The shortest exact text: 67108864 -> "64Mi", 1000 -> "1000"."""
    for power, suffix in reversed(tuple(enumerate(_BINARY, start=1))):
        if count and count % (1 << (10 * power)) == 0:
            return f"{count >> (10 * power)}{suffix}"
    return str(count)


def of_milli(count: int) -> str:
    """100 -> "100m", 2000 -> "2"."""
    return f"{count}m" if count % 1000 else str(count // 1000)


def _ceil(value: Fraction) -> int:
    return -(-value.numerator // value.denominator)
