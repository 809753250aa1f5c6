"""The guest agent, and the data a guest is given."""

import hashlib
import json
import secrets
import uuid

import pytest

from functests.libs import build, patience
from functests.libs.cluster import Cluster
from functests.libs.kube import Space


@pytest.mark.demand(boots=2)
@pytest.mark.case("AGT-001")
def test_the_agent_connects_and_leaves(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a running VMI whose guest runs the agent.
    Steps: wait for the condition; stop the agent in the guest.
    Expected: the channel's port is there; AgentConnected True within 10 s of its start, absent within 10 s of its end.
    """
    _, shell = space.boot(build.kernel_boot_vmi(cluster, "vm"))
    assert "org.qemu.guest_agent.0" in shell.succeed("cat /sys/class/virtio-ports/*/name")
    patience.eventually("the guest runs its agent", lambda: shell.run("pidof qemu-ga").code, lambda code: code == 0)
    space.wait_condition("vm", "AgentConnected", "True", within_s=patience.promised(10))
    shell.succeed("agent stop")
    space.wait_condition("vm", "AgentConnected", "", within_s=patience.promised(10))


@pytest.mark.case("AGT-011")
def test_no_cloud_data_arrives_unchanged(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: none.
    Steps: boot a VMI with cloudInitNoCloud user data.
    Expected: a disk labelled cidata; the same bytes; meta-data with instance-id and hostname; its size in the status.
    """
    identity = str(uuid.uuid4())
    data = f"#cloud-config\n# {secrets.token_hex(16)} <&>\"'\n"
    manifest = build.with_disk(build.kernel_boot_vmi(cluster, "vm"), "seed", {"cloudInitNoCloud": {"userData": data}})
    _, shell = space.boot(build.merged(manifest, {"spec": {"domain": {"firmware": {"uuid": identity}}}}))
    shell.succeed("blkid /dev/vda | grep -q 'LABEL=\"cidata\"'")
    shell.succeed("mkdir -p /tmp/seed && mount -o ro /dev/vda /tmp/seed")
    assert shell.succeed("sha256sum < /tmp/seed/user-data").split()[0] == hashlib.sha256(data.encode()).hexdigest()
    meta = json.loads(shell.succeed("cat /tmp/seed/meta-data"))
    assert meta["instance-id"] == identity
    assert meta["local-hostname"] == "vm"
    size = int(shell.succeed("blockdev --getsize64 /dev/vda"))
    volume = next(entry for entry in space.vmi("vm")["status"]["volumeStatus"] if entry["name"] == "seed")
    assert volume["size"] == size


@pytest.mark.demand(vcpus=0, memory_mib=0, boots=0)
@pytest.mark.case("AGT-015")
def test_faulty_guest_data_is_refused_at_its_field(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a VMI with good cloud-init data (the control).
    Steps: create it with one fault at a time.
    Expected: 422 at the volume's own field; nothing stored.
    """
    base = build.kernel_boot_vmi(cluster, "vm")

    def seeded(source: object) -> build.Manifest:
        return build.with_disk(base, "seed", {"cloudInitNoCloud": source})

    def with_credential(credential: object) -> build.Manifest:
        return build.merged(seeded({"userData": "x"}), {"spec": {"accessCredentials": [credential]}})

    assert space.try_create(seeded({"userData": "x"}), dry_run=True).code == 201
    account = {"serviceAccount": {"serviceAccountName": "default"}}
    secret = {"secret": {"secretName": "keys"}}
    credentials = "spec.accessCredentials[0]"
    faults = {
        "bad base64": (seeded({"userDataBase64": "%%%"}), "spec.volumes[0].cloudInitNoCloud"),
        "two user data sources": (seeded({"userData": "x", "userDataBase64": "eA=="}), "spec.volumes[0]"),
        "no data": (seeded({}), "spec.volumes[0]"),
        "too long": (seeded({"userData": "x" * 2049}), "spec.volumes[0]"),
        "two sources": (
            build.with_disk(base, "seed", {"cloudInitNoCloud": {"userData": "x"}, "emptyDisk": {"capacity": "1Mi"}}),
            "spec.volumes[0]",
        ),
        "no source": (build.with_disk(base, "seed", {}), "spec.volumes[0]"),
        "configMap without name": (build.with_disk(base, "seed", {"configMap": {}}), "spec.volumes[0]"),
        "two service accounts": (
            build.with_disk(build.with_disk(base, "one", account), "two", account),
            "spec.volumes",
        ),
        "credential by noCloud without such a volume": (
            with_credential({"sshPublicKey": {"source": secret, "propagationMethod": {"noCloud": {}}}}), credentials,
        ),
        "credential by agent without users": (
            with_credential({"sshPublicKey": {"source": secret, "propagationMethod": {"qemuGuestAgent": {}}}}),
            credentials,
        ),
        "credential of two types": (
            with_credential({
                "sshPublicKey": {"source": secret, "propagationMethod": {"qemuGuestAgent": {"users": ["root"]}}},
                "userPassword": {"source": secret, "propagationMethod": {"qemuGuestAgent": {}}},
            }),
            credentials,
        ),
        "credential without source": (
            with_credential({"userPassword": {"propagationMethod": {"qemuGuestAgent": {}}}}), credentials,
        ),
    }  # fmt: skip
    wrong = []
    for what, (manifest, field) in faults.items():
        answer = space.try_create(manifest)
        fields = [str(cause.get("field")) for cause in answer.causes]
        if answer.code != 422 or not any(seen.startswith(field) for seen in fields):
            wrong.append(f"{what}: got {answer.code} at {fields}: {answer.message[:300]}")
    assert not wrong, "\n".join(wrong)
    assert space.get_vmi("vm") is None
