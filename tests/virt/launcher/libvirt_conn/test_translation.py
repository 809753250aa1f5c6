"""Which of our errors one of libvirt's becomes."""

import libvirt
import pytest

from virt.launcher.libvirt_conn import errors
from virt.launcher.libvirt_conn.translation import translated

QEMU, REMOTE = libvirt.VIR_FROM_QEMU, libvirt.VIR_FROM_REMOTE


@pytest.mark.parametrize(("code", "domain", "wanted"), [
    (libvirt.VIR_ERR_NO_DOMAIN, QEMU, errors.NotRunning),
    (libvirt.VIR_ERR_XML_ERROR, QEMU, errors.InvalidDomain),
    (libvirt.VIR_ERR_AGENT_UNRESPONSIVE, QEMU, errors.NoAgent),
    (112, QEMU, errors.NoAgent),
    (113, QEMU, errors.AgentError),
    (libvirt.VIR_ERR_INVALID_CONN, QEMU, errors.HypervisorLost),
    (libvirt.VIR_ERR_INTERNAL_ERROR, REMOTE, errors.HypervisorLost),     # "client socket is closed"
    (libvirt.VIR_ERR_INTERNAL_ERROR, QEMU, errors.MigrationFailed),
    (libvirt.VIR_ERR_OPERATION_FAILED, QEMU, errors.MigrationFailed),
])
def test_an_error_becomes_ours(code: int, domain: int, wanted: type[errors.HypervisorError]) -> None:
    fault = libvirt.libvirtError("it said no")
    fault.err = (code, domain, "it said no", libvirt.VIR_ERR_ERROR, None, None, None, -1, -1)
    with pytest.raises(errors.HypervisorError, match="it said no") as told, translated(errors.MigrationFailed):
        raise fault
    assert type(told.value) is wanted
