"""What can go wrong between handler and launcher.

    RpcError
    ├── ConnectionLost     the other side went away, or broke the rules of the protocol
    ├── CallTimeout        no answer within the deadline
    └── RequestFailed      the launcher answered that it could not do it
"""

from virt.base.errors import VirtError


class RpcError(VirtError):
    """Base of the errors of this package."""

    reference = "launcher-connection"


class ConnectionLost(RpcError):
    """The connection is of no further use; whoever dials dials again."""


class CallTimeout(RpcError):
    """The other side lives but did not answer in time; what became of the request is unknown."""


class RequestFailed(RpcError):
    """The answer was :class:`virt.rpc.messages.Failed`. ``code`` is its word for programs."""

    reference = "launcher-refused"

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
