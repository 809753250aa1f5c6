"""What a machine is told to become a node."""

import pytest
import yaml

from cluster_up.machines.joining import TAINT, JoinCommandError, credentials, hosts, join_configuration
from cluster_up.machines.model import Machine
from cluster_up.providers.capacity import Reserve

PRINTED = (
    "W1127 configuration is old\n"
    "kubeadm join dev-control-plane:6443 --token abcdef.0123456789abcdef "
    "--discovery-token-ca-cert-hash sha256:aa --discovery-token-ca-cert-hash sha256:bb \n"
)


def test_kubeadms_words_are_read() -> None:
    found = credentials(PRINTED)
    assert (found.endpoint, found.token) == ("dev-control-plane:6443", "abcdef.0123456789abcdef")
    assert found.ca_hashes == ("sha256:aa", "sha256:bb")


@pytest.mark.parametrize("text", [
    "", "error: no", "kubeadm join", "kubeadm join a:1 --token", "kubeadm join a:1 --token x"])
def test_other_words_are_told(text: str) -> None:
    with pytest.raises(JoinCommandError):
        credentials(text)


def test_taint_and_labels_come_with_the_node() -> None:
    text = join_configuration(Machine("dev", 1), "172.18.0.7", credentials(PRINTED), Reserve(500, 700))
    document = yaml.safe_load(text)
    assert document["discovery"]["bootstrapToken"]["apiServerEndpoint"] == "dev-control-plane:6443"
    node = document["nodeRegistration"]
    assert node["name"] == "dev-machine"
    assert node["taints"] == [{"key": TAINT, "value": "true", "effect": "NoSchedule"}]
    arguments = {each["name"]: each["value"] for each in node["kubeletExtraArgs"]}
    assert arguments == {
        "node-ip": "172.18.0.7", "node-labels": "virt-harness/machine=true,virt-harness/sriov=true",
        "system-reserved": "cpu=500m,memory=700Mi",
    }


def test_names_of_containers_are_known_by_a_file() -> None:
    assert hosts({"dev-control-plane": "172.18.0.2", "virt-dev-registry": "172.18.0.3"}) == (
        "127.0.0.1 localhost\n172.18.0.2 dev-control-plane\n172.18.0.3 virt-dev-registry\n")
