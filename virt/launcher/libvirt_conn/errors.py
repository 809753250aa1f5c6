"""libvirt's errors as classes.

    HypervisorError
    ├── NotRunning       the domain is off, or there is none
    ├── InvalidDomain    libvirt or QEMU does not take the domain as it is described
    ├── NoAgent          no guest agent is connected, or it does not answer
    ├── AgentError       the guest agent answered with an error
    ├── NoDevice         the domain lacks the device (no screen to take a picture of), or does not take it
    ├── MigrationFailed  the guest did not leave
    └── HypervisorLost   the connection to libvirt broke
"""

from virt.base.errors import VirtError


class HypervisorError(VirtError):
    """Base, and what fits nowhere else. ``code`` is the word of :class:`virt.rpc.messages.Failed`."""

    reference = "hypervisor"
    hint = "the log of the pod's compute container has libvirt's and QEMU's own words"
    code = "Internal"


class NotRunning(HypervisorError):
    code = "NotRunning"


class InvalidDomain(HypervisorError):
    code = "InvalidSpec"


class NoAgent(HypervisorError):
    code = "NoAgent"


class AgentError(HypervisorError):
    code = "AgentError"


class NoDevice(HypervisorError):
    code = "NoDevice"


class MigrationFailed(HypervisorError):
    """The guest still runs where it was, as far as this side knows."""


class HypervisorLost(HypervisorError):
    """libvirt's daemon ended. The guest may run on; a new daemon finds it. Ask again."""
