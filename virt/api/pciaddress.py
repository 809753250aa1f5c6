"""PCI addresses as people write them: ``domain:bus:slot.function``, all hexadecimal (0000:00:1f.2)."""

import re

_FORM = re.compile(r"([0-9a-fA-F]{4}):([0-9a-fA-F]{2}):([01][0-9a-fA-F])\.([0-7])", re.ASCII)


class PciAddressError(ValueError):
    """The text is no PCI address."""


def parts(text: str) -> tuple[str, str, str, str]:
    """Domain, bus, slot and function.

    >>> parts("0000:81:1F.2")
    ('0000', '81', '1f', '2')
    """
    found = _FORM.fullmatch(text)
    if found is None:
        raise PciAddressError(f"{text!r} is no PCI address such as 0000:01:00.0")
    domain, bus, slot, function = found.groups()
    return domain.lower(), bus.lower(), slot.lower(), function
