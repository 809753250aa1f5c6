"""Who may change a VirtualMachineInstance that exists."""

import pytest

from functests.fixtures.warm import WarmVm
from functests.libs import roles
from functests.libs.rest import VMI, kubevirt_path

CONTROLLER = "system:serviceaccount:kubevirt:kubevirt-controller"


@pytest.mark.case("ADM-031")
def test_only_the_components_change_a_running_vmi(warm_vm: WarmVm) -> None:
    """
    Preconditions: a running VMI; a user with the role admin in its namespace.
    Steps: the user patches its spec, then its phase; the controller's account patches the phase (dry run).
    Expected: 422 for the spec; 200 without effect for the phase, the guest goes on; the controller's change is taken.
    """
    space, shell = warm_vm.space, warm_vm.shell
    same = shell.succeed("cat /proc/sys/kernel/random/boot_id")
    path = kubevirt_path(VMI, space.name, "vm")
    _, user = roles.user_with(space, "admin")

    spec = user.patch(path, {"spec": {"terminationGracePeriodSeconds": 7}})
    assert spec.code == 422, spec.text
    assert "update of VMI object is restricted" in spec.message, spec.message
    assert space.vmi("vm")["spec"]["terminationGracePeriodSeconds"] == 0

    failed = {"status": {"phase": "Failed"}}
    status = user.patch(path, failed)
    assert status.code == 200, status.text
    assert status.body["status"]["phase"] == "Running", status.body["status"]["phase"]
    assert space.vmi("vm")["status"]["phase"] == "Running"
    assert shell.succeed("cat /proc/sys/kernel/random/boot_id") == same

    taken = space.rest.as_user(CONTROLLER).patch(f"{path}?dryRun=All", failed)
    assert taken.code == 200, taken.text
    assert taken.body["status"]["phase"] == "Failed", taken.body["status"]["phase"]
    assert space.vmi("vm")["status"]["phase"] == "Running"
