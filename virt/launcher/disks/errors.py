"""The error of this package."""

from virt.base.errors import VirtError


class DiskError(VirtError):
    """A volume cannot be given to the guest; the text starts with its name."""

    reference = "volume-not-usable"
    hint = "look at the named volume's image, claim or secret"
