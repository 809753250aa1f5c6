"""Who may change a VirtualMachineInstance that exists."""

import pytest

from functests.libs import build, roles
from functests.libs.cluster import Cluster
from functests.libs.kube import Space
from functests.libs.rest import VMI, kubevirt_path

CONTROLLER = "system:serviceaccount:kubevirt:kubevirt-controller"


@pytest.mark.case("ADM-031")
def test_only_the_components_change_a_running_vmi(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a running VMI; a user with the role admin in its namespace.
    Steps: the user patches its spec, then its phase; the controller's account patches the phase (dry run).
    Expected: 422 for the spec; 200 without effect for the phase, the guest goes on; the controller's change is taken.
    """
    _, shell = space.boot(build.kernel_boot_vmi(cluster, "vm"))
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
