"""The one door to libvirt: what the launcher needs of it as a protocol, its errors, and the real thing."""

from virt.launcher.libvirt_conn.api import (
    AgentChanged,
    DeviceGone,
    DiskFailed,
    Hypervisor,
    JobProgress,
    Lifecycle,
    MigrationRequest,
    Notice,
    Panicked,
    Resumed,
)
from virt.launcher.libvirt_conn.errors import (
    AgentError,
    HypervisorError,
    HypervisorLost,
    InvalidDomain,
    MigrationFailed,
    NoAgent,
    NoDevice,
    NotRunning,
)

__all__ = [
    "AgentChanged",
    "AgentError",
    "DeviceGone",
    "DiskFailed",
    "Hypervisor",
    "HypervisorError",
    "HypervisorLost",
    "InvalidDomain",
    "JobProgress",
    "Lifecycle",
    "MigrationFailed",
    "MigrationRequest",
    "NoAgent",
    "NoDevice",
    "NotRunning",
    "Notice",
    "Panicked",
    "Resumed",
]
