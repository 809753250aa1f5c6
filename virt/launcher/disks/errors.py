"""The errors of this package."""

from virt.base.errors import VirtError


class DiskError(VirtError):
    """A volume cannot be given to the guest; the text starts with its name."""

    reference = "volume-not-usable"
    hint = "look at the named volume's image, claim or secret"
    code = "InvalidSpec"                # as in virt.rpc.messages.Failed


class DiskNotThereYet(DiskError):
    """Nobody answers for the volume; it may yet come, so asking again makes sense."""

    code = "Timeout"
