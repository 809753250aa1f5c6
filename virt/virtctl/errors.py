"""What virtctl says when it cannot: one line on standard error, exit status 1.

    CommandError        wrong use, or the state of things does not allow it
    ├── ServerError     the API server refused; the text is the server's
    └── AccessError     no usable kubeconfig
"""

from virt.base.errors import VirtError


class CommandError(VirtError):
    """What a person asked for cannot be done. The message stands for itself."""

    reference = "virtctl"


class ServerError(CommandError):
    """``code`` is the HTTP status, 0 when there was no answer."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class AccessError(CommandError):
    """The kubeconfig is missing, broken, or lacks what was asked for."""
