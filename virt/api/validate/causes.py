"""How rules say what is wrong, and the checks that many rules share."""

import posixpath
import re
from collections.abc import Iterable, Iterator
from fractions import Fraction

from virt.api import quantity
from virt.api.status import DUPLICATE, INVALID, NOT_SUPPORTED, REQUIRED, StatusCause
from virt.api.wire import Quantity

Causes = Iterator[StatusCause]

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
_DNS_LABEL_RULE = "must be at most 63 lower case letters, digits or '-', and begin and end with a letter or digit"


def invalid(field: str, message: str) -> StatusCause:
    return StatusCause(reason=INVALID, message=message, field=field)


def required(field: str, message: str) -> StatusCause:
    return StatusCause(reason=REQUIRED, message=message, field=field)


def not_supported(field: str, message: str) -> StatusCause:
    return StatusCause(reason=NOT_SUPPORTED, message=message, field=field)


def duplicate(field: str, message: str) -> StatusCause:
    return StatusCause(reason=DUPLICATE, message=message, field=field)


def one_of(field: str, value: str, allowed: Iterable[str], what: str) -> Causes:
    """Refuses a value outside ``allowed``; "" means unset."""
    allowed = tuple(allowed)
    if value and value not in allowed:
        choice = ", ".join(allowed)
        yield not_supported(field, f"{field} is set with an unrecognized {what}: {value!r}, use one of {choice}")


def dns_label(field: str, value: str) -> Causes:
    if _DNS_LABEL.fullmatch(value) is None:
        yield invalid(field, f"{field} {value!r} is no DNS label: {_DNS_LABEL_RULE}")


def dns_subdomain(field: str, value: str) -> Causes:
    if len(value) > 253 or any(_DNS_LABEL.fullmatch(part) is None for part in value.split(".")):
        yield invalid(field, f"{field} {value!r} is no DNS subdomain: each part {_DNS_LABEL_RULE}")


def amount(field: str, value: Quantity | None, problems: list[StatusCause]) -> Fraction | None:
    """The parsed quantity; None without one, and when it does not parse, which is noted in ``problems``."""
    if value is None:
        return None
    try:
        return quantity.parse(value)
    except quantity.QuantityError as error:
        problems.append(invalid(field, f"{field}: {error}"))
        return None


def file_path(field: str, path: str) -> Causes:
    """A path inside an image: absolute, clean, not the root (CVE-2022-1798)."""
    if path == "/":
        yield invalid(field, f"{field}: {path!r} must not point to root")
    elif not path.startswith("/") or path.startswith("//") or posixpath.normpath(path) != path:
        yield invalid(field, f"{field}: {path!r} must be an absolute path to a file without relative components")


def repeated(names: Iterable[str]) -> frozenset[int]:
    """Places where a name stands that stood before."""
    seen: set[str] = set()
    places = set()
    for place, name in enumerate(names):
        if name in seen:
            places.add(place)
        seen.add(name)
    return frozenset(places)
