"""Settings of the KubeVirt object that the operator refuses, and those that it carries out at run time."""

import re
from typing import Any

import pytest

from functests.libs import build, patience, settings
from functests.libs.cluster import Cluster
from functests.libs.kube import Space
from functests.libs.rest import VM, VMI, Rest, kubevirt_path
from functests.libs.stack import API, CONTROLLER, HANDLER, NAMESPACE, Stack, is_ready

CIPHER = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
APPS = f"/apis/apps/v1/namespaces/{NAMESPACE}"
BUDGETS = f"/apis/policy/v1/namespaces/{NAMESPACE}/poddisruptionbudgets"
HOST = "kubernetes.io/hostname"
Spec = dict[str, Any]


def _configuration(**fields: Any) -> Spec:
    return {"configuration": fields}


def _rotation(**fields: Any) -> Spec:
    return {"certificateRotateStrategy": {"selfSigned": fields}}


def _profile(**fields: Any) -> Spec:
    return _configuration(seccompConfiguration={"virtualMachineInstanceProfile": {"customProfile": fields}})


def _ciphers(version: str, *names: str) -> Spec:
    return _configuration(tlsConfiguration={"minTLSVersion": version, "ciphers": list(names)})


# Fault -> (what is asked, the field, words of the message). The last of each kind of setting is sound: no field.
FAULTS: dict[str, tuple[Spec, str, str]] = {
    "both profiles": (
        _profile(localhostProfile="p", runtimeDefaultProfile=True),
        "spec.configuration.seccompConfiguration.virtualMachineInstanceProfile.customProfile", "exactly one",
    ),
    "no profile": (
        _profile(), "spec.configuration.seccompConfiguration.virtualMachineInstanceProfile.customProfile", "has none",
    ),
    "one profile": (_profile(localhostProfile="p"), "", ""),
    "ratio is no number": (
        _configuration(additionalGuestMemoryOverheadRatio="x"),
        "spec.configuration.additionalGuestMemoryOverheadRatio", "x",
    ),
    "ratio below one": (
        _configuration(additionalGuestMemoryOverheadRatio="0.9"),
        "spec.configuration.additionalGuestMemoryOverheadRatio", "0.9",
    ),
    "good ratio": (_configuration(additionalGuestMemoryOverheadRatio="1.5"), "", ""),
    "ciphers of TLS 1.3": (
        _ciphers("VersionTLS13", CIPHER), "spec.configuration.tlsConfiguration.ciphers", "VersionTLS13",
    ),
    "unknown cipher": (
        _ciphers("VersionTLS12", CIPHER, "ROT13"), "spec.configuration.tlsConfiguration.ciphers[1]", "ROT13",
    ),
    "good ciphers": (_ciphers("VersionTLS12", CIPHER), "", ""),
    "old beside new": (
        _rotation(caOverlapInterval="1h", ca={"duration": "48h"}),
        "spec.certificateRotateStrategy.selfSigned", "mutually exclusive",
    ),
    "CA renewed before it is made": (
        _rotation(ca={"duration": "24h", "renewBefore": "48h"}, server={"duration": "12h"}),
        "spec.certificateRotateStrategy.selfSigned.ca", "renewBefore",
    ),
    "certificate renewed before it is made": (
        _rotation(server={"duration": "1h", "renewBefore": "2h"}),
        "spec.certificateRotateStrategy.selfSigned.server", "renewBefore",
    ),
    "certificate outlives its CA": (
        _rotation(ca={"duration": "24h"}, server={"duration": "48h"}),
        "spec.certificateRotateStrategy.selfSigned", "server.duration",
    ),
    "good rotation": (
        _rotation(ca={"duration": "48h", "renewBefore": "24h"}, server={"duration": "24h", "renewBefore": "12h"}),
        "", "",
    ),
    "a gate on and off": (
        _configuration(developerConfiguration={"featureGates": ["HostDisk"], "disabledFeatureGates": ["HostDisk"]}),
        "spec.configuration.developerConfiguration.featureGates", "HostDisk",
    ),
}  # fmt: skip


@pytest.mark.case("OPR-014")
def test_faulty_settings_are_refused_by_name(admin: Rest) -> None:
    """
    Preconditions: none.
    Steps: change the KubeVirt object in one faulty way after the other, and in a sound way of each kind (dry run).
    Expected: 422 with one cause at the setting, whose message names it; 200 for the sound ones.
    """
    wrong = []
    for what, (spec, field, words) in FAULTS.items():
        answer = settings.tried(admin, spec)
        fields = [cause["field"] for cause in answer.causes]
        if not field:
            if answer.code != 200:
                wrong.append(f"{what}: {answer.code} {answer.text[:300]}")
        elif (answer.code, fields) != (422, [field]) or words not in answer.message:
            wrong.append(f"{what}: expected {field} and {words!r}, got {answer.code} {fields} {answer.message[:300]}")
    assert not wrong, "\n".join(wrong)


def _generations(admin: Rest) -> dict[str, int]:
    return {
        item["metadata"]["name"]: item["metadata"]["generation"]
        for plural in ("deployments", "daemonsets")
        for item in admin.get(f"{APPS}/{plural}").ok()["items"]
    }


@pytest.mark.case("OPR-009")
def test_impossible_placement_is_refused(admin: Rest) -> None:
    """
    Preconditions: none.
    Steps: place infrastructure and workloads with a toleration whose operator is "foo"; ask for no replica (dry run);
        the same with a sound toleration and two replicas.
    Expected: 422 that names the field; 200 for the sound ones; no Deployment or DaemonSet has another generation.
    """
    before = _generations(admin)

    def placed(operator: str) -> Spec:
        return {"nodePlacement": {"tolerations": [{"key": "a", "operator": operator}]}}

    wrong = []
    for what, spec, field in (
        ("infra", {"infra": placed("foo")}, r"spec\.infra\.nodePlacement\.tolerations(\[0\])?\.operator"),
        ("workloads", {"workloads": placed("foo")}, r"spec\.workloads\.nodePlacement\.tolerations(\[0\])?\.operator"),
        ("no replica", {"infra": {"replicas": 0}}, r"infra replica count can't be 0"),
    ):
        answer = settings.tried(admin, spec)
        if answer.code != 422 or not re.search(field, answer.message):
            wrong.append(f"{what}: {answer.code} {answer.text[:300]}")
    sound = {"infra": {**placed("Exists"), "replicas": 2}, "workloads": placed("Equal")}
    for what, placement in sound.items():
        answer = settings.tried(admin, {what: placement})
        if answer.code != 200:
            wrong.append(f"sound {what}: {answer.code} {answer.text[:300]}")
    assert not wrong, "\n".join(wrong)
    assert _generations(admin) == before


@pytest.mark.case("OPR-011")
def test_there_is_one_installation(admin: Rest) -> None:
    """
    Preconditions: KubeVirt is installed.
    Steps: create a second KubeVirt beside it and one in another namespace (dry run).
    Expected: 400 "KubeVirt is already created" for both; the first is as it was.
    """
    before = settings.kubevirt(admin)["metadata"]["resourceVersion"]
    document = {"apiVersion": "kubevirt.io/v1", "kind": "KubeVirt", "metadata": {"name": "second"}, "spec": {}}
    for namespace in (NAMESPACE, "default"):
        answer = admin.post(f"{kubevirt_path('kubevirts', namespace)}?dryRun=All", document)
        assert answer.code == 400, answer.text
        assert "KubeVirt is already created" in answer.message, answer.message
    assert settings.kubevirt(admin)["metadata"]["resourceVersion"] == before


@pytest.mark.serial
@pytest.mark.case("OPR-018")
def test_machines_keep_their_installation(space: Space, cluster: Cluster, stack: Stack) -> None:
    """
    Preconditions: uninstallStrategy BlockUninstallIfWorkloadsExist.
    Steps: delete the KubeVirt object (dry run) while the test has a stopped VM only; while it has a VMI only; with the
        strategy unset and the VMI.
    Expected: 400 that names the kind, both times; 200; the object is there.
    """
    path = f"{settings.path(stack.rest)}?dryRun=All"
    machine = build.on_node(build.kernel_boot_vmi(cluster, "vm"), "no-such-node")
    with settings.changed(stack.rest, {"uninstallStrategy": "BlockUninstallIfWorkloadsExist"}):
        space.create(build.vm_of(machine, "Halted"))
        blocked = stack.rest.delete(path)
        assert blocked.code == 400, blocked.text
        assert re.search(r"\bVirtualMachine\b", blocked.message), blocked.message
        space.delete_vm("vm").ok()
        patience.eventually("the VM is gone", lambda: space.get_vm("vm"), lambda vm: vm is None)
        space.create(machine)
        blocked = stack.rest.delete(path)
        assert blocked.code == 400, blocked.text
        assert re.search(r"\bVirtualMachineInstance\b", blocked.message), blocked.message
    assert stack.rest.get(kubevirt_path(VMI, space.name, "vm")).code == 200
    assert not stack.rest.get(kubevirt_path(VM, space.name)).ok()["items"]
    rehearsed = stack.rest.delete(path)
    assert rehearsed.code == 200, rehearsed.text
    assert "deletionTimestamp" not in settings.kubevirt(stack.rest)["metadata"]


def _ready(stack: Stack, component: str) -> list[str]:
    """Nodes of the component's ready pods, as long as no other pod of it is there."""
    found = stack.pods(component)
    return sorted(pod["spec"]["nodeName"] for pod in found) if all(is_ready(pod) for pod in found) else []


def _budget(stack: Stack, component: str) -> int | None:
    """How many pods of the component evictions have to leave; None without a budget."""
    answer = stack.rest.get(f"{BUDGETS}/{component}-pdb")
    return None if answer.code == 404 else int(answer.ok()["spec"]["minAvailable"])


@pytest.mark.serial
@pytest.mark.demand(vcpus=0, memory_mib=400, boots=0, seconds=120)
@pytest.mark.case("OPR-010")
def test_replicas_follow_the_setting(stack: Stack) -> None:
    """
    Preconditions: two replicas of the infrastructure.
    Steps: ask for three, then one; leave it at one for 30 s; take the setting away.
    Expected: ready pods of virt-api and virt-controller and their budgets follow: 3 and 2, 1 and none, 2 and 1; with
        one replica the object has its finalizer and is not written; everything is available in the end.
    """

    def follow(replicas: int, budget: int | None) -> None:
        for component in (API, CONTROLLER):
            patience.eventually(
                f"{component} has {replicas} replicas and budget {budget}",
                lambda component=component: (len(_ready(stack, component)), _budget(stack, component)),  # type: ignore[misc]
                lambda seen: seen == (replicas, budget),
                within_s=patience.promised(60),
            )

    place = settings.path(stack.rest)
    with settings.changed(stack.rest, {"infra": {"replicas": 3}}):
        follow(3, 2)
        stack.rest.patch(place, {"spec": {"infra": {"replicas": 1}}}).ok()
        follow(1, None)
        alone = settings.wait_applied(stack.rest)
        assert "kubevirt.io/virtOperatorFinalizer" in alone["metadata"]["finalizers"], alone["metadata"]
        generation = alone["metadata"]["generation"]

        patience.quiet(
            "the object's generation moves",
            lambda: settings.kubevirt(stack.rest)["metadata"]["generation"],
            lambda seen: seen != generation,
            for_s=30,
        )
    follow(2, 1)


@pytest.mark.serial
@pytest.mark.needs("two-nodes")
@pytest.mark.demand(vcpus=0, memory_mib=400, boots=0, seconds=120)
@pytest.mark.case("OPR-008")
def test_infrastructure_goes_where_it_is_placed(stack: Stack) -> None:
    """
    Preconditions: virt-api and virt-controller run on the control plane.
    Steps: place the infrastructure on one worker; take the placement away.
    Expected: all their pods run there and the old ones are gone; then they are back where they were.
    """
    worker = stack.cluster.workers[-1]
    before = {component: _ready(stack, component) for component in (API, CONTROLLER)}
    assert all(worker not in nodes for nodes in before.values()), before
    with settings.changed(stack.rest, {"infra": {"nodePlacement": {"nodeSelector": {HOST: worker}}}}):
        for component in (API, CONTROLLER):
            patience.eventually(
                f"{component} runs on {worker} only",
                lambda component=component: _ready(stack, component),  # type: ignore[misc]
                lambda nodes: nodes == [worker] * 2,
                within_s=patience.promised(90),
            )
    for component, nodes in before.items():
        patience.eventually(
            f"{component} is back on the control plane",
            lambda component=component: _ready(stack, component),  # type: ignore[misc]
            lambda seen, nodes=nodes: seen == nodes,  # type: ignore[misc]
            within_s=patience.promised(90),
        )


@pytest.mark.serial
@pytest.mark.needs("two-nodes")
@pytest.mark.demand(vcpus=0, memory_mib=400, boots=0, seconds=90)
@pytest.mark.case("OPR-008")
def test_node_agents_go_where_workloads_are_placed(stack: Stack) -> None:
    """
    Preconditions: both workers have a node agent and take VMs.
    Steps: place workloads on the first worker; take the placement away.
    Expected: the node agent leaves the second, whose label says that it takes no VMs; the first has one and takes VMs;
        then both take VMs again, the second with a new agent.
    """
    first, second = stack.cluster.workers[:2]
    before = stack.handler(second)["metadata"]["uid"]
    assert [stack.schedulable(node) for node in (first, second)] == ["true", "true"]
    with settings.changed(stack.rest, {"workloads": {"nodePlacement": {"nodeSelector": {HOST: first}}}}):
        patience.eventually(
            "the second worker has no node agent and takes no VMs",
            lambda: (len(stack.pods(HANDLER, node=second)), stack.schedulable(second)),
            lambda seen: seen == (0, "false"),
            within_s=patience.promised(90),
        )
        patience.eventually(
            "the first has a node agent and takes VMs",
            lambda: (len(stack.pods(HANDLER, node=first)), stack.schedulable(first)),
            lambda seen: seen == (1, "true"),
            within_s=patience.promised(60),
        )
    patience.eventually(
        "both take VMs",
        lambda: [stack.schedulable(node) for node in (first, second)],
        lambda seen: seen == ["true", "true"],
        within_s=patience.promised(90),
    )
    assert stack.handler(second)["metadata"]["uid"] != before
