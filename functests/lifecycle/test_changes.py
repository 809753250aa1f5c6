"""A template that is changed under a running guest, and names that are as long as Kubernetes lets them be."""

import hashlib
import re
import secrets

import pytest

from functests.libs import build, patience
from functests.libs.cluster import Cluster
from functests.libs.console import open_socket
from functests.libs.guest import boot_id
from functests.libs.guestnet import addressed
from functests.libs.kube import Object, Space, condition
from functests.libs.rest import VMI, subresource_path

_GENERATION = "kubevirt.io/vm-generation"


def _revisions(space: Space, vm: Object) -> dict[str, Object]:
    """The ControllerRevisions of the VM, by name."""
    items = space.rest.get(f"/apis/apps/v1/namespaces/{space.name}/controllerrevisions").ok()["items"]
    return {
        item["metadata"]["name"]: item
        for item in items
        if any(owner["uid"] == vm["metadata"]["uid"] for owner in item["metadata"].get("ownerReferences", []))
    }


@pytest.mark.demand(vcpus=2, memory_mib=500, boots=2)
@pytest.mark.case("LIF-047")
@pytest.mark.case("LIF-048")
def test_a_changed_template_waits_for_a_restart(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a running VM with one core.
    Steps: change a label of the template; the cores to 2, back to 1, to 2 again; restart.
    Expected: the VM's generation is the desired one and beyond the observed; the VMI keeps its generation and revision,
        and the revision the spec of the start. RestartRequired comes with 2 cores, goes with 1, and the guest has one.
        After the restart two cores, no RestartRequired, all generations agree, the old revision is gone.
    """
    cores = {"spec": {"domain": {"cpu": {"cores": 1}}}}
    vmi, shell = space.boot(build.vm_of(build.merged(build.kernel_boot_vmi(cluster, "vm"), cores)))
    boot, before = boot_id(shell), space.vm("vm")
    revision = f"revision-start-vm-{before['metadata']['uid']}-{vmi['metadata']['annotations'][_GENERATION]}"
    assert vmi["status"]["virtualMachineRevisionName"] == revision

    space.patch_vm("vm", {"spec": {"template": {"metadata": {"labels": {"colour": "green"}}}}}).ok()
    generation = space.vm("vm")["metadata"]["generation"]
    vm = space.wait_vm("vm", lambda vm: vm["status"].get("desiredGeneration") == generation, "knows the change")
    assert generation > before["metadata"]["generation"], vm["metadata"]
    assert vm["status"]["observedGeneration"] == before["metadata"]["generation"], vm["status"]
    assert condition(vm, "RestartRequired") == {}, vm["status"]
    seen = space.vmi("vm")
    assert seen["metadata"]["annotations"][_GENERATION] == vmi["metadata"]["annotations"][_GENERATION]
    assert seen["status"]["virtualMachineRevisionName"] == revision
    kept = _revisions(space, before)
    assert list(kept) == [revision], list(kept)
    assert kept[revision]["data"]["spec"]["template"]["spec"] == before["spec"]["template"]["spec"]

    def with_cores(count: int, status: str) -> Object:
        space.patch_vm("vm", {"spec": {"template": {"spec": {"domain": {"cpu": {"cores": count}}}}}}).ok()
        return space.wait_vm(
            "vm", lambda vm: condition(vm, "RestartRequired").get("status", "") == status,
            f"{count} cores: RestartRequired {status or 'absent'}",
        )  # fmt: skip

    assert condition(with_cores(2, "True"), "RestartRequired")["message"]
    assert shell.succeed("nproc") == "1"
    with_cores(1, "")
    with_cores(2, "True")
    assert (space.vmi("vm")["metadata"]["uid"], boot_id(shell)) == (vmi["metadata"]["uid"], boot)

    assert space.act_on_vm("vm", "restart").code == 202
    second = space.wait_running("vm", not_uid=vmi["metadata"]["uid"], within_s=patience.boots(2))
    assert space.shell("vm").succeed("nproc") == "2"
    generation = space.vm("vm")["metadata"]["generation"]
    vm = space.wait_vm("vm", lambda vm: vm["status"].get("observedGeneration") == generation, "all generations agree")
    assert condition(vm, "RestartRequired") == {}, vm["status"]
    assert vm["status"]["desiredGeneration"] == generation
    assert second["metadata"]["annotations"][_GENERATION] == str(generation)
    assert second["metadata"]["labels"]["colour"] == "green"
    patience.eventually(
        "the old revision is gone", lambda: list(_revisions(space, before)),
        lambda names: names == [second["status"]["virtualMachineRevisionName"]],
    )  # fmt: skip


@pytest.mark.case("LIF-049")
def test_a_very_long_name(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: none.
    Steps: boot a VMI whose name has 70 characters; ask for its SSH server through the API.
    Expected: it runs; the label vmi.kubevirt.io/id is the name's first 54 characters, a dash and eight digits of its
        SHA-1; no label of the pod is longer than 63; the guest's name by DHCP is a label of at most 63; SSH answers.
    """
    name = ("long-name-" * 7)[:69] + secrets.choice("0123456789")
    vmi, shell = space.boot(build.kernel_boot_vmi(cluster, name))
    labels = space.pod(vmi)["metadata"]["labels"]
    wanted = f"{name[:54]}-{hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()[:8]}"
    assert labels["vmi.kubevirt.io/id"] == wanted, labels
    assert max(len(value) for value in labels.values()) <= 63, labels
    hostname = patience.eventually(
        "the guest has its name by DHCP", lambda: shell.succeed("hostname"), lambda seen: seen != "tiny"
    )
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", hostname), hostname
    assert name.startswith(hostname), hostname
    addressed(shell)
    socket = open_socket(space.rest, subresource_path(VMI, space.name, name, "portforward/22"))
    try:
        _, said = socket.recv_data()
        assert said.startswith(b"SSH-2.0-"), said
    finally:
        socket.close()
