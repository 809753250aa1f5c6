"""Config maps, secrets, labels and tokens of the cluster as disks in the guest."""

import hashlib
from collections.abc import Mapping

import pytest

from functests.libs import build, commands, guest, patience
from functests.libs.cluster import Cluster
from functests.libs.console import Console
from functests.libs.kube import Space
from functests.libs.refusal import misfit
from functests.libs.rest import core_path

_TOKENS = "/var/run/secrets/kubernetes.io/serviceaccount"


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _config_map(space: Space, name: str, data: Mapping[str, str]) -> None:
    space.rest.post(core_path("configmaps", space.name), {"metadata": {"name": name}, "data": dict(data)}).ok()


def _files(shell: Console, serial: str, label: str) -> dict[str, str]:
    """SHA-256 by path of all files on the disk, which must carry the label."""
    device = guest.disk(shell, serial)
    shell.succeed(f"blkid {device} | grep -q 'LABEL=\"{label}\"'")
    shell.succeed(f"mkdir -p /tmp/{serial} && mount -o ro {device} /tmp/{serial}")
    told = shell.succeed(f"cd /tmp/{serial}; find . -type f -exec sha256sum '{{}}' ';'; cd /; umount /tmp/{serial}")
    return {line.split()[1].removeprefix("./"): line.split()[0] for line in told.splitlines()}


def _in_pod(cluster: Cluster, space: Space, pod: str, script: str) -> str:
    words = ("exec", pod, "-n", space.name, "-c", "compute", "--", "sh", "-c", script)
    return commands.kubectl(cluster, *words).stdout


@pytest.mark.demand(boots=2, seconds=120)
@pytest.mark.case("AGT-022")
def test_an_edited_config_map_waits_for_the_next_start(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a running VM with a config map as a disk of label OEMDRV.
    Steps: edit the config map; restart the VM.
    Expected: that label in the guest; the disk is the same byte for byte; after the restart it has the new text.
    """
    _config_map(space, "config", {"key": "first"})
    source = {"name": "config", "volumeLabel": "OEMDRV"}
    manifest = build.with_disk(build.kernel_boot_vmi(cluster, "vm"), "config", {"configMap": source}, serial="config")
    vmi, shell = space.boot(build.vm_of(manifest))
    assert _files(shell, "config", "OEMDRV") == {"key": _digest(b"first")}
    whole = f"sha256sum < {guest.disk(shell, 'config')}"
    before = shell.succeed(whole)
    space.rest.patch(core_path("configmaps", space.name, "config"), {"data": {"key": "second"}}).ok()
    pod = space.pod(vmi)["metadata"]["name"]
    patience.eventually(
        "the kubelet has brought the new text into the pod",
        lambda: _in_pod(cluster, space, pod, "cat /var/run/kubevirt-private/config/config/key"),
        lambda text: text == "second", within_s=patience.promised(150), every_s=2,
    )  # fmt: skip
    assert shell.succeed(whole) == before
    assert space.act_on_vm("vm", "restart").code == 202
    space.wait_running("vm", not_uid=vmi["metadata"]["uid"], within_s=patience.boots(2))
    assert _files(space.shell("vm"), "config", "OEMDRV") == {"key": _digest(b"second")}


@pytest.mark.case("AGT-023")
def test_an_account_without_a_volume_gives_no_token(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: an account.
    Steps: boot a VMI with that serviceAccountName and no volume; create one with a volume of another account.
    Expected: its pod has the account and no token of it, neither in compute nor on a disk; 422 at the volume.
    """
    space.rest.post(core_path("serviceaccounts", space.name), {"metadata": {"name": "robot"}}).ok()
    manifest = build.merged(build.kernel_boot_vmi(cluster, "vm"), {"spec": {"serviceAccountName": "robot"}})
    vmi, shell = space.boot(manifest)
    pod = space.pod(vmi)
    assert (pod["spec"]["serviceAccountName"], pod["spec"]["automountServiceAccountToken"]) == ("robot", False)
    found = _in_pod(cluster, space, pod["metadata"]["name"], f"ls {_TOKENS} 2>/dev/null; find /var/run -name 'token*'")
    assert found.strip() == "", found
    assert shell.succeed("ls /sys/block | grep -c '^[sv]d' || true") == "0"

    other = build.with_disk(manifest, "account", {"serviceAccount": {"serviceAccountName": "default"}})
    refused = misfit(
        space.try_create(other, dry_run=True), "spec.volumes[0].serviceAccount.serviceAccountName"
    )  # fmt: skip
    assert not refused, refused


@pytest.mark.demand(vcpus=2, memory_mib=800, boots=2)
@pytest.mark.case("AGT-024")
def test_a_config_map_that_is_missing(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: no config maps.
    Steps: create a VMI whose config map may be missing, and one whose config map must be there; create that map.
    Expected: the first boots, its disk is empty; the second stays Scheduling, its pod has an event FailedMount that
        names the map; then the same VMI boots with it.
    """
    base = build.kernel_boot_vmi
    must = build.with_disk(base(cluster, "must"), "config", {"configMap": {"name": "absent"}}, serial="config")
    space.create(must)
    vmi = space.wait_vmi("must", lambda seen: seen["status"].get("phase") == "Scheduling", "Scheduling")
    optional = {"configMap": {"name": "never", "optional": True}}
    _, shell = space.boot(build.with_disk(base(cluster, "may"), "config", optional, serial="config"))
    assert _files(shell, "config", "cfgdata") == {}
    pod = space.pod(vmi)["metadata"]["name"]
    complaints = [event["message"] for event in
                  space.wait_events(pod, "FailedMount", "Pod", within_s=patience.promised(40))]
    assert any("absent" in text for text in complaints), complaints
    assert space.vmi("must")["status"]["phase"] == "Scheduling"
    _config_map(space, "absent", {"key": "there now"})
    # The kubelet tries a mount that failed ever more rarely.
    running = space.wait_running("must", within_s=patience.promised(60))
    assert running["metadata"]["uid"] == vmi["metadata"]["uid"]
    assert _files(space.shell("must"), "config", "cfgdata") == {"key": _digest(b"there now")}
