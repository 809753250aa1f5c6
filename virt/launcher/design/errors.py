"""Why no domain can be designed for a VMI."""

from virt.base.errors import VirtError


class DesignError(VirtError):
    """The spec asks for what this host or this preparation cannot give. ``field`` is the path below the VMI."""

    reference = "domain-design"
    hint = "change the field that the message names"

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


class DesignConflict(VirtError):
    """Two design steps set one field; a fault of ours, found by the tests of the design."""

    reference = "domain-design"
    hint = "report the VMI: two parts of the launcher disagree about its domain"
