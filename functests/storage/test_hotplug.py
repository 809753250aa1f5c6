"""Disks that are put into a running guest and taken out again: by the template, and by the two endpoints."""

import pytest

from functests.libs import build, claims, hotplug, patience, records
from functests.libs.cluster import Cluster
from functests.libs.console import Console
from functests.libs.kube import Object, Space, condition
from functests.libs.rest import VM, VMI, core_path, kubevirt_path
from functests.libs.volumes import NodeVolumes
from functests.libs.watch import Watch


def _claim(space: Space, *names: str) -> None:
    for name in names:
        space.rest.post(core_path("persistentvolumeclaims", space.name), build.pvc(name, size="16Mi")).ok()


@pytest.mark.case("STO-043")
@pytest.mark.case("STO-052")
def test_a_disk_comes_and_goes_under_a_running_guest(
    node_volumes: NodeVolumes, space: Space, cluster: Cluster
) -> None:
    """
    Preconditions: a VM that runs with one disk of its own; a claim on its node.
    Steps: patch a virtio disk on the claim into the template; write 4 MiB in the guest; ask addvolume for a name and
        for a claim that are in use, and removevolume for the guest's own disk and for a name that is none; patch the
        disk out.
    Expected: the phases come in their order up to Ready with a target; one attachment pod, on the guest's node, which
        is the launcher's; four times 409 with its text; then device, volume, status and pod are gone, the file has the
        data; RestartRequired never.
    """
    here = cluster.workers[-1]
    data = node_volumes.make(space, here, "data")
    vmi = build.with_disk(
        build.on_node(build.kernel_boot_vmi(cluster, "vm"), here), "own", {"emptyDisk": {"capacity": "16Mi"}})
    running, shell = space.boot(build.vm_of(vmi))
    with Watch(space.rest, kubevirt_path(VMI, space.name)) as instances, Watch(
            space.rest, kubevirt_path(VM, space.name)) as machines:
        hotplug.patch_in(space, "vm", "data")
        hotplug.wait_ready(space, "vm", "data")
        pod = hotplug.wait_attachments(space, ["data"])
        assert pod is not None
        device = hotplug.find(shell, "data")
        written = hotplug.fill(shell, device)
        vmi_now = space.vmi("vm")
        entry = hotplug.status(vmi_now, "data")
        launcher = space.pod(vmi_now)["metadata"]
        wrong = claims.wrong([
            ("target", entry["target"], device.removeprefix("/dev/")),
            ("pod in the status", entry["hotplugVolume"],
             {"attachPodName": pod["metadata"]["name"], "attachPodUID": pod["metadata"]["uid"]}),
            ("node of the pod", pod["spec"]["nodeName"], here),
            ("owner of the pod", [owner["uid"] for owner in pod["metadata"]["ownerReferences"]], [launcher["uid"]]),
            *_refusals(space),
        ])
        assert not wrong, wrong

        hotplug.patch_out(space, "vm", "data")
        after = hotplug.wait_gone(space, "vm", "data")
        assert not hotplug.has_device(shell, device), shell.succeed("ls /sys/block")
        hotplug.wait_attachments(space, [])
        seen = [hotplug.phase(vmi, "data") for _, vmi in instances.seen("vm")]
        came = [phase for phase in dict.fromkeys(seen) if phase in hotplug.ORDER]
        assert came == [phase for phase in hotplug.ORDER if phase in came], came
        assert {"AttachedToNode", "Ready"} <= set(came), came
        assert "Detaching" in seen, seen
        assert [vm for _, vm in machines.seen("vm") if condition(vm, "RestartRequired")] == []
    assert after["metadata"]["uid"] == running["metadata"]["uid"]
    assert hotplug.volumes_of(space.vm("vm")["spec"]["template"]["spec"]) == ["own"]
    assert data.run("head -c 4M disk.img | sha256sum").split()[0] == written


def _refusals(space: Space) -> list[tuple[str, object, object]]:
    """What is asked in vain of a VM that has the disks "own" and "data" (claim "data")."""
    asked = {
        "a name in use": ("addvolume", hotplug.options("own", claim="other"),
                          "because volume with that name already exists"),
        "a claim in use": ("addvolume", hotplug.options("new", claim="data"), "because it already exists"),
        "a disk of its own": ("removevolume", {"name": "own"}, "because it is not hotpluggable"),
        "no such volume": ("removevolume", {"name": "nothing"}, "because it does not exist"),
    }
    found: list[tuple[str, object, object]] = []
    for what, (verb, body, text) in asked.items():
        answer = space.act_on_vm("vm", verb, body)
        found.append((f"{what}: {answer.text}", (answer.code, text in answer.message), (409, True)))
    return found


@pytest.mark.case("STO-044")
@pytest.mark.parametrize("bus", ["scsi", "virtio"])
def test_a_volume_is_added_while_the_guest_starts(space: Space, cluster: Cluster, bus: str) -> None:
    """
    Preconditions: a claim; a VM that has just been created.
    Steps: PUT addvolume on the VM at once; write in the guest; PUT removevolume.
    Expected: 202, the volume is in the template; it becomes Ready and the guest reads what it wrote; then it is gone
        from guest, VM and VMI.
    """
    _claim(space, "data")
    space.create(build.vm_of(build.kernel_boot_vmi(cluster, "vm")))
    answer = space.act_on_vm("vm", "addvolume", hotplug.options("data", bus))
    assert (answer.code, answer.text) == (202, ""), answer.text
    (volume,) = space.vm("vm")["spec"]["template"]["spec"]["volumes"]
    assert volume == hotplug.volume("data")
    hotplug.wait_ready(space, "vm", "data", within_s=60 + patience.boots(1))
    shell = space.shell("vm")
    device = hotplug.find(shell, "data")
    assert device.startswith("/dev/sd" if bus == "scsi" else "/dev/vd"), device
    hotplug.fill(shell, device)
    assert space.act_on_vm("vm", "removevolume", {"name": "data"}).code == 202
    hotplug.wait_gone(space, "vm", "data")
    assert not hotplug.has_device(shell, device)
    assert hotplug.volumes_of(space.vm("vm")["spec"]["template"]["spec"]) == []
    hotplug.wait_attachments(space, [])


@pytest.mark.case("STO-045")
@pytest.mark.case("STO-053")
@pytest.mark.demand(vcpus=2, memory_mib=800, boots=2)
def test_the_instances_endpoint_is_for_those_without_a_vm(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a VMI that nobody owns, a VM that runs; two claims.
    Steps: PUT addvolume on both VMIs; with bus sata on the first; a sata disk in the VM's template, then its bus
        corrected; PUT removevolume on the first.
    Expected: 202 and the guest has the disk until it is removed; 400 "is owned by a VM" and nothing changes; 422 with
        the rule's text; the template is accepted, the VM says HotPlugVolumeError with that text and the guest is as it
        was, until the bus is right: then it has the disk.
    """
    _claim(space, "data", "more")
    rule = "requires bus to be 'scsi' or 'virtio'"
    _, shell = space.boot(build.kernel_boot_vmi(cluster, "alone"))
    owned, other = space.boot(build.vm_of(build.kernel_boot_vmi(cluster, "vm")))
    refused = space.act_on_vmi("vm", "addvolume", hotplug.options("more"))
    assert (refused.code, "is owned by a VM" in refused.message) == (400, True), refused.text
    assert space.vmi("vm")["spec"] == owned["spec"]
    refused = space.act_on_vmi("alone", "addvolume", hotplug.options("data", "sata"))
    assert (refused.code, rule in refused.message) == (422, True), refused.text

    assert space.act_on_vmi("alone", "addvolume", hotplug.options("data")).code == 202
    hotplug.wait_ready(space, "alone", "data")
    device = hotplug.find(shell, "data")
    hotplug.fill(shell, device)

    hotplug.patch_in(space, "vm", "more", bus="sata")
    failed = space.wait_vm("vm", lambda vm: condition(vm, "Failure") != {}, "says that it failed")
    failure = condition(failed, "Failure")
    assert (failure["status"], failure["reason"], rule in failure["message"]) == ("True", "HotPlugVolumeError", True)
    assert hotplug.volumes_of(space.vmi("vm")["spec"]) == []
    assert other.succeed("ls /sys/block | grep -c '^sd' || true").strip() == "0"
    _set_bus(space, "more", "scsi")
    hotplug.wait_ready(space, "vm", "more")
    hotplug.find(other, "more")
    space.wait_vm("vm", lambda vm: condition(vm, "Failure") == {}, "takes it back")

    assert space.act_on_vmi("alone", "removevolume", {"name": "data"}).code == 202
    hotplug.wait_gone(space, "alone", "data")
    assert not hotplug.has_device(shell, device)


def _set_bus(space: Space, name: str, bus: str) -> None:
    hotplug.patch_out(space, "vm", name)
    hotplug.patch_in(space, "vm", name, bus=bus)


@pytest.mark.case("STO-046")
@pytest.mark.case("STO-047")
@pytest.mark.demand(boots=4, seconds=40)
def test_a_volume_outlives_its_guest(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: two claims; a VM that is off.
    Steps: PUT addvolume of one; start; write; stop; start; PUT removevolume; stop; add the other one and remove it;
        start.
    Expected: off, only the template changes and there is no pod; the guest has the disk after each start, with its
        data, and loses it while it runs; what was removed while off is not there at the next start.
    """
    _claim(space, "data", "other")
    space.create(build.vm_of(build.kernel_boot_vmi(cluster, "vm"), "Halted"))
    assert space.act_on_vm("vm", "addvolume", hotplug.options("data", "virtio")).code == 202
    assert hotplug.volumes_of(space.vm("vm")["spec"]["template"]["spec"]) == ["data"]
    patience.quiet("a pod of a VM that is off", lambda: hotplug.attachments(space), bool, for_s=3)
    _, shell = _start(space)
    hotplug.wait_ready(space, "vm", "data")
    written = hotplug.fill(shell, hotplug.find(shell, "data"))
    _stop(space)
    _, shell = _start(space)
    hotplug.wait_ready(space, "vm", "data")
    device = hotplug.find(shell, "data")
    assert hotplug.digest(shell, device) == written
    assert space.act_on_vm("vm", "removevolume", {"name": "data"}).code == 202
    hotplug.wait_gone(space, "vm", "data")
    assert not hotplug.has_device(shell, device)
    assert not hotplug.needs_restart(space, "vm")
    _stop(space)
    for verb, body in (("addvolume", hotplug.options("other")), ("removevolume", {"name": "other"})):
        assert space.act_on_vm("vm", verb, body).code == 202
    vmi, shell = _start(space)
    assert hotplug.volumes_of(vmi["spec"]) == []
    assert hotplug.attachments(space) == []


def _start(space: Space) -> tuple[Object, Console]:
    assert space.act_on_vm("vm", "start").code == 202
    return space.wait_running("vm", within_s=60 + patience.boots(1)), space.shell("vm")


def _stop(space: Space) -> None:
    assert space.act_on_vm("vm", "stop").code == 202
    space.wait_vmi_gone("vm")


@pytest.mark.case("STO-048")
@pytest.mark.demand(seconds=40)
def test_a_dry_run_changes_nothing(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a VM that runs with a hot-plugged disk; a second claim.
    Steps: PUT addvolume of the second and removevolume of the first, with dryRun All.
    Expected: 202; for 30 s the VM's generation and the VMI's volumes are as they were, and no other pod comes.
    """
    _claim(space, "data", "more")
    space.boot(build.vm_of(build.kernel_boot_vmi(cluster, "vm")))
    assert space.act_on_vm("vm", "addvolume", hotplug.options("data")).code == 202
    hotplug.wait_ready(space, "vm", "data")
    pod = hotplug.wait_attachments(space, ["data"])

    def world() -> tuple[object, ...]:
        vm, vmi = space.vm("vm"), space.vmi("vm")
        return (vm["metadata"]["generation"], hotplug.volumes_of(vm["spec"]["template"]["spec"]),
                hotplug.volumes_of(vmi["spec"]), [each["metadata"]["uid"] for each in hotplug.attachments(space)])

    before = world()
    assert pod is not None
    assert before[1:] == (["data"], ["data"], [pod["metadata"]["uid"]])
    for verb, body in (("addvolume", hotplug.options("more")), ("removevolume", {"name": "data"})):
        answer = space.act_on_vm("vm", verb, {**body, "dryRun": ["All"]})
        assert answer.code == 202, answer.text
    patience.quiet("something changed", world, lambda seen: seen != before, for_s=30)


@pytest.mark.case("STO-049")
@pytest.mark.case("STO-050")
@pytest.mark.demand(boots=1, seconds=60)
def test_disks_come_and_go_beside_one_that_is_written(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a VM that runs with hot-plugged disk a, which its guest writes without pause; three more claims.
    Steps: add b, c and d one by one, remove c, add it again; three times remove d and add it again within a second.
    Expected: at rest always one attachment pod, with all claims; a's stream is whole, the guest's kernel tells of no
        I/O error; b, c and d are found by their serials, d with what was written at first.
    """
    _claim(space, "a", "b", "c", "d")
    _, shell = space.boot(build.vm_of(build.kernel_boot_vmi(cluster, "vm")))
    _add(space, "a")
    device = hotplug.find(shell, "a").removeprefix("/dev/")
    records.begin(shell, device)
    there = ["a"]
    for name in ("b", "c", "d"):
        _add(space, name)
        there.append(name)
        hotplug.wait_attachments(space, there)
    assert space.act_on_vm("vm", "removevolume", {"name": "c"}).code == 202
    hotplug.wait_gone(space, "vm", "c")
    hotplug.wait_attachments(space, ["a", "b", "d"])
    _add(space, "c")
    hotplug.wait_attachments(space, there)
    for name in ("b", "c", "d"):
        hotplug.find(shell, name)
    written = hotplug.fill(shell, hotplug.find(shell, "d"), 1)
    for _ in range(3):
        for verb, body in (("removevolume", {"name": "d"}), ("addvolume", hotplug.options("d"))):
            assert space.act_on_vm("vm", verb, body).code == 202
        hotplug.wait_ready(space, "vm", *there)
    hotplug.wait_attachments(space, there)
    hotplug.wait_ready(space, "vm", *there)
    assert hotplug.digest(shell, hotplug.find(shell, "d"), 1) == written
    assert records.check(shell, device) > 0
    assert shell.run("dmesg | grep -i 'i/o error'").code == 1, shell.run("dmesg | tail -20").out


def _add(space: Space, name: str) -> None:
    answer = space.act_on_vm("vm", "addvolume", hotplug.options(name))
    assert answer.code == 202, answer.text
    hotplug.wait_ready(space, "vm", name)


@pytest.mark.case("STO-054")
def test_a_claim_that_does_not_exist_is_waited_for(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a VM that runs.
    Steps: PUT addvolume of a claim that does not exist; create the claim.
    Expected: the volume is Pending for FailedPvcNotFound, "PVC late not found", there is no pod, the guest runs on;
        then it becomes Ready.
    """
    running, shell = space.boot(build.vm_of(build.kernel_boot_vmi(cluster, "vm")))
    assert space.act_on_vm("vm", "addvolume", hotplug.options("late")).code == 202
    vmi = space.wait_vmi("vm", lambda vmi: hotplug.status(vmi, "late") != {}, "tells of the volume")
    entry = hotplug.status(vmi, "late")
    assert (entry["phase"], entry["reason"], entry["message"]) == (
        "Pending", "FailedPvcNotFound", "PVC late not found")
    patience.quiet("a pod without its claim", lambda: hotplug.attachments(space), bool, for_s=3)
    _claim(space, "late")
    hotplug.wait_ready(space, "vm", "late")
    hotplug.fill(shell, hotplug.find(shell, "late"), 1)
    assert space.vmi("vm")["metadata"]["uid"] == running["metadata"]["uid"]


@pytest.mark.case("STO-056")
@pytest.mark.demand(boots=2, pinned=2)
def test_a_vm_is_deleted_while_a_disk_is_on_its_way(node_volumes: NodeVolumes, space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a VM that runs; a claim on its node.
    Steps: PUT addvolume, delete the VM as soon as the volume is attached to the node; boot another VM with the claim.
    Expected: VMI and pods are gone within a minute, the claim's folder is mounted nowhere; the other guest has the
        disk.
    """
    here = cluster.workers[-1]
    volume = node_volumes.make(space, here, "data")
    space.boot(build.vm_of(build.on_node(build.kernel_boot_vmi(cluster, "vm"), here)))
    with Watch(space.rest, kubevirt_path(VMI, space.name)) as watch:
        assert space.act_on_vm("vm", "addvolume", hotplug.options("data", "virtio")).code == 202
        watch.wait_for(
            "attached to the node", lambda _, vmi: hotplug.phase(vmi, "data") in hotplug.ORDER[2:],
            within_s=patience.promised(20))
        space.delete_vm("vm").ok()
    space.wait_vmi_gone("vm", within_s=patience.promised(60))
    patience.eventually(
        "no pod is left", lambda: [pod["metadata"]["name"] for pod in space.rest.get(
            core_path("pods", space.name)).ok()["items"]], lambda left: not left, within_s=patience.promised(60))
    mounted = volume.node.run(f"grep -c {volume.path} /proc/mounts || true").strip()
    assert mounted == "0", volume.node.run(f"grep {volume.path} /proc/mounts")
    other = build.with_disk(
        build.on_node(build.kernel_boot_vmi(cluster, "other"), here), "data",
        {"persistentVolumeClaim": {"claimName": "data"}}, serial="data")
    _, shell = space.boot(other)
    hotplug.fill(shell, hotplug.find(shell, "data"), 1)


@pytest.mark.case("STO-057")
def test_a_claim_that_waits_for_a_pod_is_bound_on_the_guests_node(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a VM that runs; a claim of class local that waits for its first consumer.
    Steps: PUT addvolume.
    Expected: its volume comes to the guest's node, the disk becomes Ready, the guest writes to it.
    """
    vmi, shell = space.boot(build.vm_of(build.kernel_boot_vmi(cluster, "vm")))
    _claim(space, "data")
    claim = space.rest.get(core_path("persistentvolumeclaims", space.name, "data")).ok()
    assert claim["status"]["phase"] == "Pending", claim["status"]
    assert space.act_on_vm("vm", "addvolume", hotplug.options("data")).code == 202
    hotplug.wait_ready(space, "vm", "data")
    hotplug.fill(shell, hotplug.find(shell, "data"))
    bound = space.rest.get(core_path("persistentvolumeclaims", space.name, "data")).ok()["spec"]["volumeName"]
    volume = space.rest.get(f"/api/v1/persistentvolumes/{bound}").ok()
    assert vmi["status"]["nodeName"] in str(volume["spec"]["nodeAffinity"]), volume["spec"]
