"""Whole pods against files beside this one, so that nothing extra can appear; GOLDEN=write writes them anew."""

import json
import os
from pathlib import Path

import pytest
import yaml
from msgspec.structs import replace

from virt.api import codec, core, v1
from virt.api.clusterconfig import ClusterConfig
from virt.controller.vmi.pod.naming import bounded, is_pod_of, pod_name, suffix
from virt.controller.vmi.pod.template import Context, launcher_pod

GOLDEN = Path(__file__).parent / "golden"
IMAGE = "localhost:5001/virt-launcher:abc"

META = core.ObjectMeta(
    name="guest", namespace="default", uid="c0ffee00-0000-4000-8000-000000000001", labels={"app": "web"},
    annotations={
        "note": "kept", "kubectl.kubernetes.io/last-applied-configuration": "{}", "kubevirt.io/vm-generation": "1"},
)
PLAIN = v1.VirtualMachineInstance(
    metadata=META,
    spec=v1.VirtualMachineInstanceSpec(
        architecture="amd64",
        domain=v1.DomainSpec(
            memory=v1.Memory(guest="128Mi"), machine=v1.Machine(type="q35"),
            cpu=v1.CPU(cores=1, sockets=1, threads=1, model="host-model"),
        ),
        volumes=(
            v1.Volume(name="root", container_disk=v1.ContainerDiskSource(image="localhost:5001/tiny:1")),
            v1.Volume(name="seed", cloud_init_no_cloud=v1.CloudInitNoCloudSource(user_data="#cloud-config")),
        ),
    ),
)
FULL = v1.VirtualMachineInstance(
    metadata=META,
    spec=v1.VirtualMachineInstanceSpec(
        architecture="amd64",
        domain=v1.DomainSpec(
            memory=v1.Memory(guest="1Gi"),
            machine=v1.Machine(type="pc-q35-9.2"),
            cpu=v1.CPU(cores=2, sockets=2, threads=1, model="Nehalem", features=(v1.CPUFeature(name="aes"),)),
            resources=v1.ResourceRequirements(
                requests={"cpu": "500m", "memory": "1Gi"}, limits={"cpu": "2", "memory": "2Gi"}),
            devices=v1.Devices(autoattach_graphics_device=False),
            firmware=v1.Firmware(kernel_boot=v1.KernelBoot(
                kernel_args="console=ttyS0",
                container=v1.KernelBootContainer(
                    image="localhost:5001/kernel", image_pull_secret="pull", kernel_path="/boot/vmlinuz",
                    initrd_path="/boot/initrd"))),
        ),
        volumes=(
            v1.Volume(name="root", container_disk=v1.ContainerDiskSource(
                image="localhost:5001/tiny", path="/disk/a.img", image_pull_secret="pull")),
            v1.Volume(name="private", persistent_volume_claim=v1.PersistentVolumeClaimVolumeSource(
                claim_name="files", read_only=True)),
            v1.Volume(name="raw", persistent_volume_claim=v1.PersistentVolumeClaimVolumeSource(claim_name="raw")),
            v1.Volume(name="seed", cloud_init_config_drive=v1.CloudInitConfigDriveSource(
                secret_ref=core.LocalObjectReference(name="user"),
                network_data_secret_ref=core.LocalObjectReference(name="net"))),
            v1.Volume(name="scratch", empty_disk=v1.EmptyDiskSource(capacity="1Gi")),
        ),
        node_selector={"disk": "ssd"},
        tolerations=(core.Toleration(key="gpu", operator="Exists"),),
        priority_class_name="high",
        hostname="host",
        subdomain="sub",
        dns_policy="None",
        dns_config=core.PodDNSConfig(nameservers=("10.0.00.01",)),
        termination_grace_period_seconds=0,
        readiness_probe=v1.Probe(tcp_socket=core.TCPSocketAction(port=22), period_seconds=5, timeout_seconds=1),
    ),
)
CLAIMS = {
    "files": core.PersistentVolumeClaim(metadata=core.ObjectMeta(name="files")),
    "raw": core.PersistentVolumeClaim(
        metadata=core.ObjectMeta(name="raw"), spec=core.PersistentVolumeClaimSpec(volume_mode="Block")),
}
NODE_LABELS = ("cpu-model.node.kubevirt.io/Nehalem", "cpu-feature.node.kubevirt.io/sse2")


@pytest.mark.parametrize(("name", "pod"), [
    ("plain", launcher_pod(PLAIN, Context(ClusterConfig(), IMAGE))),
    ("full", launcher_pod(FULL, Context(
        ClusterConfig(use_emulation=True, image_pull_policy="Always"), IMAGE, CLAIMS, NODE_LABELS))),
])
def test_the_whole_pod(name: str, pod: core.Pod) -> None:
    file = GOLDEN / f"{name}.yaml"
    document = codec.to_json(pod)
    if os.environ.get("GOLDEN") == "write":
        file.parent.mkdir(exist_ok=True)
        file.write_text(yaml.safe_dump(document, sort_keys=False, width=120), encoding="utf-8")
    assert document == yaml.safe_load(file.read_text(encoding="utf-8"))


def test_multus_is_told_of_secondary_networks() -> None:
    devices = v1.Devices(interfaces=(
        v1.Interface(name="net1", sriov=v1.InterfaceSRIOV(), mac_address="de:ad:00:00:be:ef"),
        v1.Interface(name="net2", bridge=v1.InterfaceBridge())))
    networks = tuple(
        v1.Network(name=name, multus=v1.MultusNetwork(network_name=called))
        for name, called in (("net1", "fast"), ("net2", "shared/slow")))
    spec = replace(PLAIN.spec, domain=replace(PLAIN.spec.domain, devices=devices), networks=networks)
    pod = launcher_pod(replace(PLAIN, spec=spec), Context(
        ClusterConfig(), IMAGE, functions={"net1": "intel.com/a", "net2": "bridge.network/slow"}))
    assert json.loads(pod.metadata.annotations["k8s.v1.cni.cncf.io/networks"]) == [
        {"name": "fast", "namespace": "default", "interface": "pod6c270ef2f25", "mac": "de:ad:00:00:be:ef"},
        {"name": "slow", "namespace": "shared", "interface": "pod2daa9a9645f"},
    ]
    limits = pod.spec.containers[0].resources.limits
    assert (limits["intel.com/a"], limits["bridge.network/slow"]) == ("1", "1")


@pytest.mark.parametrize("vmi", [PLAIN, FULL])
def test_the_pod_meets_the_restricted_standard(vmi: v1.VirtualMachineInstance) -> None:
    pod = launcher_pod(vmi, Context(ClusterConfig(), IMAGE, CLAIMS)).spec
    assert all(volume.host_path is None for volume in pod.volumes)
    assert pod.security_context is not None
    assert pod.security_context.run_as_non_root
    assert pod.security_context.seccomp_profile == core.SeccompProfile(type="RuntimeDefault")
    assert (pod.host_network, pod.host_pid, pod.host_ipc, pod.init_containers) == (False, False, False, ())
    assert pod.automount_service_account_token is False
    for container in pod.containers:
        context = container.security_context
        assert context is not None
        assert context.allow_privilege_escalation is False
        assert context.capabilities == core.Capabilities(drop=("ALL",))
        assert context.run_as_user == context.run_as_group == 107


def test_configuration_volumes_are_mounted_for_the_launcher_alone() -> None:
    cpu = core.ResourceFieldSelector(resource="limits.cpu")
    items = (core.DownwardAPIVolumeFile(path="cpu", resource_field_ref=cpu),)
    volumes = (
        v1.Volume(name="map", config_map=v1.ConfigMapVolumeSource(name="m", optional=True)),
        v1.Volume(name="hidden", secret=v1.SecretVolumeSource(secret_name="s")),
        v1.Volume(name="told", downward_api=v1.DownwardAPIVolumeSource(fields=items)),
        v1.Volume(name="account", service_account=v1.ServiceAccountVolumeSource(service_account_name="robot")),
        v1.Volume(name="base", ephemeral=v1.EphemeralVolumeSource(
            persistent_volume_claim=v1.PersistentVolumeClaimVolumeSource(claim_name="files"))),
    )
    pod = launcher_pod(replace(PLAIN, spec=replace(PLAIN.spec, volumes=volumes)), Context(
        ClusterConfig(), IMAGE, CLAIMS)).spec
    made = {volume.name: volume for volume in pod.volumes}
    assert made["vol-map"].config_map == core.ConfigMapVolumeSource(name="m", optional=True)
    assert made["vol-hidden"].secret == core.SecretVolumeSource(secret_name="s")
    told = made["vol-told"].downward_api
    assert told is not None
    assert told.items[0].resource_field_ref == replace(cpu, container_name="compute")
    assert made["vol-base"].persistent_volume_claim == core.PersistentVolumeClaimVolumeSource(claim_name="files")
    projected = made["vol-account"].projected
    assert projected is not None
    assert [source.service_account_token is not None for source in projected.sources] == [True, False, False]
    assert (pod.service_account_name, pod.automount_service_account_token) == ("robot", False)
    mounts = {container.name: {mount.name: mount for mount in container.volume_mounts} for container in pod.containers}
    for name in ("map", "hidden", "told", "account"):
        mount = mounts["compute"][f"vol-{name}"]
        assert (mount.mount_path, mount.read_only) == (f"/var/run/kubevirt-private/config/{name}", True)
    assert mounts["compute"]["vol-base"].read_only
    assert not [name for container, found in mounts.items() if container != "compute" for name in found
                if name.startswith("vol-")]


def test_annotations_that_ask_the_node_for_more_are_not_the_pods() -> None:
    asked = {"k8s.v1.cni.cncf.io/networks": "other", "note": "kept",
             "container.seccomp.security.alpha.kubernetes.io/compute": "unconfined",
             "seccomp.security.alpha.kubernetes.io/pod": "unconfined"}
    vmi = replace(PLAIN, metadata=replace(META, annotations=asked))
    annotations = launcher_pod(vmi, Context(ClusterConfig(), IMAGE)).metadata.annotations
    assert {key for key in annotations if key in asked} == {"note"}


def test_a_pod_is_a_vmis_only_by_the_name_that_we_give() -> None:
    pod = launcher_pod(PLAIN, Context(ClusterConfig(), IMAGE))
    assert is_pod_of(pod, PLAIN)
    stranger = replace(pod, metadata=replace(pod.metadata, name="stranger"))
    assert not is_pod_of(stranger, PLAIN)
    moving = replace(pod.metadata, labels={**pod.metadata.labels, "kubevirt.io/migrationJobUID": "m"})
    assert not is_pod_of(replace(pod, metadata=moving), PLAIN)
    named = replace(moving, name=f"virt-launcher-guest-{suffix('m')}")
    assert is_pod_of(replace(pod, metadata=named), PLAIN)


def test_a_pods_name_is_always_the_same_and_fits() -> None:
    long = v1.VirtualMachineInstance(metadata=core.ObjectMeta(name="v" * 200, uid="u"))
    assert pod_name(PLAIN) == pod_name(PLAIN)
    assert pod_name(PLAIN).startswith("virt-launcher-guest-")
    assert len(pod_name(long)) <= 63
    other = v1.VirtualMachineInstance(metadata=core.ObjectMeta(name="guest", uid="other"))
    assert pod_name(other) != pod_name(PLAIN)


def test_long_names_are_cut_and_stay_apart() -> None:
    assert bounded("short") == "short"
    assert len(bounded("x" * 70)) == 63
    assert bounded("x" * 70) != bounded("x" * 71)


@pytest.mark.parametrize(("probe", "words"), [
    (v1.Probe(guest_agent_ping=v1.GuestAgentPing(), timeout_seconds=4, initial_delay_seconds=5), ("--guestAgentPing",)),
    (v1.Probe(exec=core.ExecAction(command=("test", "-f", "/x")), timeout_seconds=4, initial_delay_seconds=5),
     ("--command", "test", "--", "-f", "/x")),
])
def test_probes_inside_the_guest_go_through_the_helper(probe: v1.Probe, words: tuple[str, ...]) -> None:
    spec = replace(PLAIN.spec, readiness_probe=probe)
    compute = launcher_pod(replace(PLAIN, spec=spec), Context(ClusterConfig(), IMAGE)).spec.containers[0]
    found = compute.readiness_probe
    assert found is not None
    assert found.exec is not None
    assert found.exec.command == (
        "/usr/lib/virt/virt-probe", "--socket", "/var/run/kubevirt-private/probe.sock", "--timeoutSeconds", "4", *words,
    )  # fmt: skip
    assert (found.initial_delay_seconds, found.timeout_seconds, found.tcp_socket) == (15, 5, None)


def test_an_account_alone_brings_no_token() -> None:
    only_named = replace(PLAIN.spec, service_account_name="robot")
    pod = launcher_pod(replace(PLAIN, spec=only_named), Context(ClusterConfig(), IMAGE)).spec
    assert pod.service_account_name == "robot"
    assert all(volume.projected is None for volume in pod.volumes)
