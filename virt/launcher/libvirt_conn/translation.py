"""libvirt's errors as ours: by code, where the connection is lost by domain as well."""

from collections.abc import Iterator
from contextlib import contextmanager

import libvirt

from virt.launcher.libvirt_conn import errors

# VIR_ERR_*: newer than the oldest binding that the tests run with
_AGENT_COMMAND_TIMEOUT = 112
_AGENT_COMMAND_FAILED = 113
_CLASSES: dict[int, type[errors.HypervisorError]] = {
    libvirt.VIR_ERR_NO_DOMAIN: errors.NotRunning,
    libvirt.VIR_ERR_OPERATION_INVALID: errors.NotRunning,
    libvirt.VIR_ERR_XML_ERROR: errors.InvalidDomain,
    libvirt.VIR_ERR_XML_DETAIL: errors.InvalidDomain,
    libvirt.VIR_ERR_XML_INVALID_SCHEMA: errors.InvalidDomain,
    libvirt.VIR_ERR_CONFIG_UNSUPPORTED: errors.InvalidDomain,
    libvirt.VIR_ERR_AGENT_UNRESPONSIVE: errors.NoAgent,
    libvirt.VIR_ERR_AGENT_UNSYNCED: errors.NoAgent,
    _AGENT_COMMAND_TIMEOUT: errors.NoAgent,
    _AGENT_COMMAND_FAILED: errors.AgentError,
}
_LOST_CODES = (libvirt.VIR_ERR_RPC, libvirt.VIR_ERR_NO_CONNECT, libvirt.VIR_ERR_INVALID_CONN)
_LOST_THERE = (libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_ERR_INTERNAL_ERROR)    # "client socket is closed" is internal
_LOST_DOMAINS = (libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE)


@contextmanager
def translated(default: type[errors.HypervisorError] = errors.HypervisorError) -> Iterator[None]:
    """``default`` is for codes that say nothing by themselves."""
    try:
        yield
    except libvirt.libvirtError as error:
        code, text = error.get_error_code(), str(error)
        if code in _LOST_CODES or (code in _LOST_THERE and error.get_error_domain() in _LOST_DOMAINS):
            raise errors.HypervisorLost(text) from error
        raise _CLASSES.get(code, default)(text) from error
