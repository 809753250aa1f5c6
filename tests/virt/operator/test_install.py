"""The whole loop on a fake cluster: install, update, repair, removal, and being killed in between."""

import asyncio
import contextlib
import pickle

import msgspec
import pytest

from tests.virt.operator.cluster import KEY, NAMESPACE, Cluster, environment, kubevirt
from virt.api import conditions, core, names, v1
from virt.api.kinds import DISRUPTION_BUDGET, KUBEVIRT, NODE, Kind
from virt.kube.client import ApiError, MergePatch
from virt.operator import drift, stamps, status
from virt.operator.readiness import FailedUpdateError
from virt.operator.resources import (
    API_SERVICE,
    CLUSTER_ROLE,
    CONFIG_MAP,
    CRD,
    DAEMON_SET,
    DEPLOYMENT,
    OWNED,
    SECRET,
    SERVICE,
    VALIDATING_WEBHOOK,
    Json,
)


@pytest.fixture
def cluster() -> Cluster:
    made = Cluster()
    made.kube.put(KUBEVIRT, kubevirt())
    return made


@pytest.fixture(scope="module")
def installation() -> bytes:
    """The API server's memory after a whole installation, which is made once."""

    async def install() -> Cluster:
        made = Cluster()
        made.kube.put(KUBEVIRT, kubevirt())
        await (await made.operator()).run(made)
        return made

    kube = asyncio.run(install()).kube
    return pickle.dumps((kube._objects, kube._version))


@pytest.fixture
def deployed(cluster: Cluster, installation: bytes) -> None:
    """``cluster`` is as after an installation, and nothing has been written since."""
    cluster.kube._objects, cluster.kube._version = pickle.loads(installation)


def values(cr: v1.KubeVirt) -> dict[str, str]:
    return {condition.type: f"{condition.status} {condition.reason}" for condition in cr.status.conditions}


def created(cluster: Cluster, plural: str) -> list[str]:
    return [call.name for call in cluster.kube.writes if call.verb == "create" and call.plural == plural]


@pytest.mark.usefixtures("deployed")
async def test_certificates_are_looked_at_again_soon_on_a_machine_that_may_sleep(cluster: Cluster) -> None:
    operator = await cluster.operator()
    found = await operator.installer.reconcile(KEY)
    assert found.requeue_after_s is not None
    assert found.requeue_after_s <= 600


async def test_installation_ends_deployed_with_everything_there(cluster: Cluster) -> None:
    operator = await cluster.operator()
    phases = await operator.run(cluster)
    assert list(dict.fromkeys(phases)) == ["Deploying", "Deployed"]
    cr = cluster.cr
    assert values(cr) == {
        "Available": "True AllComponentsReady", "Progressing": "False AllComponentsReady",
        "Degraded": "False AllComponentsReady", "Created": "True AllResourcesCreated",
    }
    assert names.OPERATOR_FINALIZER in cr.metadata.finalizers
    assert cr.status.observed_deployment_id == cr.status.target_deployment_id != ""
    assert cr.status.observed_kube_virt_version == cr.status.operator_version == "v1.0.0"
    assert cr.status.observed_generation == cr.metadata.generation
    for kind in OWNED:
        for obj in operator.world.existing(kind):
            assert obj["metadata"]["annotations"][stamps.IDENTIFIER] == cr.status.observed_deployment_id
            assert obj["metadata"]["labels"][names.MANAGED_BY_LABEL] == names.MANAGED_BY
    assert {obj["metadata"]["name"] for obj in operator.world.existing(DEPLOYMENT)} == {"virt-api", "virt-controller"}


async def test_installation_brings_up_the_api_before_the_others(cluster: Cluster) -> None:
    operator = await cluster.operator()
    await operator.step()
    assert created(cluster, "customresourcedefinitions")
    assert not created(cluster, "deployments"), "definitions are not served yet"
    cluster.settle()
    await operator.step()
    assert created(cluster, "deployments") == ["virt-api"]
    assert created(cluster, "daemonsets") == []
    cluster.settle()
    await operator.step()
    assert created(cluster, "deployments") == ["virt-api", "virt-controller"]
    assert created(cluster, "daemonsets") == ["virt-handler"]


async def test_an_idle_installation_is_not_written_to(cluster: Cluster, deployed: None) -> None:
    operator = await cluster.operator()
    for _ in range(3):
        await operator.step()
    assert cluster.kube.writes == []


async def test_a_killed_operator_goes_on_where_it_stopped(cluster: Cluster) -> None:
    """Each pass by another process, and each process ends at another kind of object."""
    for kind in (*OWNED, *reversed(OWNED)):
        operator = await cluster.operator()
        for verb in ("create", "patch"):
            cluster.kube.fail(verb, kind.plural, ApiError(503, "Unreachable", "killed"))
        with contextlib.suppress(ApiError):
            await operator.step()
        cluster.kube._faults.clear()
        cluster.settle()
    await (await cluster.operator()).run(cluster)
    assert values(cluster.cr)["Available"] == "True AllComponentsReady"
    assert len(cluster.kube._of(SECRET)) == 7


async def test_an_update_goes_node_agents_then_controller_then_api(cluster: Cluster, deployed: None) -> None:
    new = environment("v1.1.0", operator="reg/virt:2")
    operator = await cluster.operator(new)
    order: list[str] = []
    seen: set[str] = set()
    for _ in range(20):
        await operator.step()
        if "UpdateInProgress" in str(values(cluster.cr)):
            seen |= {f"{type_} {value}" for type_, value in values(cluster.cr).items()}
        for app in ("virt-handler", "virt-controller", "virt-api"):
            pods = cluster.pods(app)
            kind = DAEMON_SET if app == "virt-handler" else DEPLOYMENT
            workload = cluster.kube.peek(kind, app, NAMESPACE)
            assert workload is not None
            is_new = workload["spec"]["template"]["spec"]["containers"][0]["image"] == "reg/virt:2"
            if is_new and app not in order:
                order.append(app)
                older = order[:-1]
                for name in older:
                    stamp = stamps.template_stamp(
                        cluster.kube.peek(DAEMON_SET if name == "virt-handler" else DEPLOYMENT, name, NAMESPACE) or {}
                    )
                    assert all(pod.metadata.annotations[stamps.IDENTIFIER] == stamp for pod in cluster.pods(name))
            assert pods
        cluster.settle()
    assert order == ["virt-handler", "virt-controller", "virt-api"]
    assert {"Available True UpdateInProgress", "Degraded True UpdateInProgress"} <= seen
    assert cluster.cr.status.observed_kube_virt_version == "v1.1.0"
    assert values(cluster.cr)["Degraded"] == "False AllComponentsReady"


async def test_an_update_widens_after_the_first_node_and_ends_narrow(cluster: Cluster, deployed: None) -> None:
    operator = await cluster.operator(environment("v1.1.0", handler="reg/virt:2"))
    widths = []
    for _ in range(8):
        await operator.step()
        found = cluster.kube.peek(DAEMON_SET, "virt-handler", NAMESPACE)
        assert found is not None
        widths.append(found["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"])
        cluster.settle()
    assert list(dict.fromkeys(widths)) == [1, "10%"]
    assert widths[-1] == 1


async def test_a_node_agent_that_does_not_stay_up_stops_the_update(cluster: Cluster, deployed: None) -> None:
    operator = await cluster.operator(environment("v1.1.0", operator="reg/virt:2"))
    await operator.step()
    found = cluster.kube.peek(DAEMON_SET, "virt-handler", NAMESPACE)
    assert found is not None
    cluster.broken.add(stamps.template_stamp(found))
    cluster.settle()
    with pytest.raises(FailedUpdateError):
        await operator.step()
    assert values(cluster.cr)["Synchronized"] == "False DeploymentFailed"
    assert len([pod for pod in cluster.pods("virt-handler") if pod.status.container_statuses[0].ready]) == 1
    old = await cluster.operator()
    await old.run(cluster)
    assert values(cluster.cr)["Available"] == "True AllComponentsReady"
    assert "Synchronized" not in values(cluster.cr)


async def test_a_new_launcher_image_alone_leaves_the_api_alone(cluster: Cluster, deployed: None) -> None:
    """The controller makes pods with it; the handlers' nodes are to have it, and libvirt's cache about it."""
    apis = cluster.pods("virt-api")
    before = {app: cluster.pods(app) for app in ("virt-controller", "virt-handler")}
    operator = await cluster.operator(environment("v1.0.0", launcher="reg/virt-launcher:2"))
    await operator.run(cluster)
    assert cluster.pods("virt-api") == apis
    assert all(cluster.pods(app) != pods for app, pods in before.items())


async def test_an_operator_leaves_the_settings_of_another_alone(cluster: Cluster, deployed: None) -> None:
    operator = await cluster.operator()
    await operator.run(cluster)
    operator.installer._environment = lambda: None
    before = len(cluster.kube.writes)
    await operator.step()
    assert len(cluster.kube.writes) == before


async def test_deleted_and_changed_objects_come_back(cluster: Cluster, deployed: None) -> None:
    operator = await cluster.operator()
    kube = cluster.kube
    wanted = {kind: kube.peek(kind, name, space) for kind, name, space in (
        (DEPLOYMENT, "virt-controller", NAMESPACE), (SERVICE, "virt-api", NAMESPACE),
        (CLUSTER_ROLE, "kubevirt.io:view", None), (API_SERVICE, "v1.subresources.kubevirt.io", None),
    )}
    for kind, obj in wanted.items():
        assert obj is not None
        await kube.delete(kind, obj["metadata"]["name"], obj["metadata"].get("namespace"))
    env = [{"name": "ADDED", "value": "1"}]
    api = kube.peek(DEPLOYMENT, "virt-api", NAMESPACE)
    assert api is not None
    container = api["spec"]["template"]["spec"]["containers"][0]
    template = {"spec": {"template": {"spec": {"containers": [{**container, "env": env}], "hostNetwork": True}}}}
    await kube.patch(DEPLOYMENT, "virt-api", MergePatch(template), namespace=NAMESPACE)
    await kube.patch(VALIDATING_WEBHOOK, "virt-api-validator", MergePatch({"webhooks": []}))
    await kube.patch(CRD, "virtualmachines.kubevirt.io", MergePatch({"spec": {"names": {"shortNames": ["vms"]}}}))
    await operator.step()
    assert values(cluster.cr)["Available"] == "False DeploymentInProgress"
    assert cluster.cr.status.phase == "Deployed"
    await operator.run(cluster)
    for kind, obj in wanted.items():
        assert obj is not None
        back = kube.peek(kind, obj["metadata"]["name"], obj["metadata"].get("namespace"))
        assert back is not None
        for part in ("spec", "rules"):
            assert back.get(part) == obj.get(part)
    again = kube.peek(DEPLOYMENT, "virt-api", NAMESPACE)
    assert again is not None
    assert again["spec"] == api["spec"]
    assert values(cluster.cr)["Available"] == "True AllComponentsReady"


@pytest.mark.parametrize(("kind", "name"), [(DAEMON_SET, "virt-handler"), (DEPLOYMENT, "virt-api")])
async def test_a_restarted_rollout_goes_on_and_what_else_was_changed_does_not(
    cluster: Cluster, deployed: None, kind: Kind[Json], name: str
) -> None:
    kube = cluster.kube
    before = kube.peek(kind, name, NAMESPACE)
    assert before is not None
    restarted = {drift.RESTARTED: "2026-11-28T03:26:57Z"}
    meta = {"annotations": {**restarted, "someone.else/mark": "x"}}
    await kube.patch(kind, name, MergePatch({"spec": {"template": {"metadata": meta}}}), namespace=NAMESPACE)
    operator = await cluster.operator()
    await operator.run(cluster)
    after = kube.peek(kind, name, NAMESPACE)
    assert after is not None
    ours = before["spec"]["template"]["metadata"]["annotations"]
    assert after["spec"]["template"]["metadata"]["annotations"] == {**ours, **restarted}
    kube.writes.clear()
    await operator.step()
    assert kube.writes == []


async def test_an_object_without_our_labels_is_adopted(cluster: Cluster, deployed: None) -> None:
    before = cluster.kube.peek(SERVICE, "virt-api", NAMESPACE)
    assert before is not None
    await cluster.kube.patch(
        SERVICE, "virt-api", MergePatch({"metadata": {"labels": None, "annotations": None}}), namespace=NAMESPACE
    )
    await (await cluster.operator()).run(cluster)
    after = cluster.kube.peek(SERVICE, "virt-api", NAMESPACE)
    assert after is not None
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["metadata"]["labels"] == before["metadata"]["labels"]


async def test_an_unreadable_certificate_is_issued_again(cluster: Cluster, deployed: None) -> None:
    name = "kubevirt-virt-api-certs"
    before = cluster.kube.peek(SECRET, name, NAMESPACE)
    await cluster.kube.patch(SECRET, name, MergePatch({"data": {"tls.crt": "", "tls.key": ""}}), namespace=NAMESPACE)
    await (await cluster.operator()).run(cluster)
    after = cluster.kube.peek(SECRET, name, NAMESPACE)
    assert before is not None
    assert after is not None
    assert after["data"]["tls.crt"] not in ("", before["data"]["tls.crt"])


async def test_a_new_ca_is_published_beside_the_old_one(cluster: Cluster, deployed: None) -> None:
    await cluster.kube.delete(SECRET, "kubevirt-ca", NAMESPACE)
    leaf = cluster.kube.peek(SECRET, "kubevirt-virt-api-certs", NAMESPACE)
    await (await cluster.operator()).run(cluster)
    bundle = cluster.kube.peek(CONFIG_MAP, "kubevirt-ca", NAMESPACE)
    assert bundle is not None
    assert bundle["data"]["ca-bundle"].count("BEGIN CERTIFICATE") == 2
    assert cluster.kube.peek(SECRET, "kubevirt-virt-api-certs", NAMESPACE) == leaf, "peers do not know the new CA yet"


async def test_replicas_and_budgets_follow_the_object(cluster: Cluster, deployed: None) -> None:
    assert cluster.kube.peek(DISRUPTION_BUDGET, "virt-api-pdb", NAMESPACE) is not None
    patch = MergePatch({"spec": {"infra": {"replicas": 1}}})
    await cluster.kube.patch(KUBEVIRT, "kubevirt", patch, namespace=NAMESPACE)
    await (await cluster.operator()).run(cluster)
    api = cluster.kube.peek(DEPLOYMENT, "virt-api", NAMESPACE)
    assert api is not None
    assert api["spec"]["replicas"] == 1
    assert cluster.kube.peek(DISRUPTION_BUDGET, "virt-api-pdb", NAMESPACE) is None
    assert cluster.cr.status.observed_generation == cluster.cr.metadata.generation


async def test_an_error_is_reported_and_goes_away(cluster: Cluster) -> None:
    operator = await cluster.operator()
    cluster.kube.fail("create", "services", ApiError(403, "Forbidden", "no"))
    cluster.settle()
    await operator.step()           # definitions
    cluster.settle()
    with pytest.raises(ApiError):
        await operator.step()
    found = conditions.find(cluster.cr.status.conditions, "Synchronized")
    assert found is not None
    assert found.reason == "DeploymentFailed"
    assert "Service kubevirt/" in found.message
    await operator.run(cluster)
    assert "Synchronized" not in values(cluster.cr)


async def test_a_second_kubevirt_does_nothing(cluster: Cluster, deployed: None) -> None:
    second = kubevirt()
    second = msgspec.structs.replace(second, metadata=msgspec.structs.replace(second.metadata, name="second"))
    cluster.kube.put(KUBEVIRT, second)
    operator = await cluster.operator()
    await operator.installer.reconcile(f"{NAMESPACE}/second")
    found = cluster.kube.peek(KUBEVIRT, "second", NAMESPACE)
    assert found is not None
    assert values(found) == {"Synchronized": "False ExistingDeployment"}
    assert not found.metadata.finalizers
    assert found.status.phase == ""


async def test_removal_leaves_nothing_and_ends_definitions_first(cluster: Cluster, deployed: None) -> None:
    cluster.kube.put(NODE, core.Node(metadata=core.ObjectMeta(
        name="node0", labels={"kubevirt.io/schedulable": "true", "kubernetes.io/os": "linux"},
        annotations={"kubevirt.io/heartbeat": "now"},
    )))
    await cluster.kube.delete(KUBEVIRT, "kubevirt", NAMESPACE)
    operator = await cluster.operator()
    await operator.step()
    assert cluster.cr.status.phase == status.DELETING
    assert values(cluster.cr)["Degraded"] == "True DeletionInProgress"
    assert {call.plural for call in cluster.kube.writes if call.verb == "delete"} == {
        "kubevirts", "customresourcedefinitions"}
    await operator.step()
    assert len(operator.world.existing(CRD)) == 4, "instances are still there"
    assert await operator.run(cluster)
    for kind in OWNED:
        assert operator.world.existing(kind) == ()
    node = cluster.kube.peek(NODE, "node0")
    assert node is not None
    assert (dict(node.metadata.labels), dict(node.metadata.annotations)) == ({"kubernetes.io/os": "linux"}, {})
    deleted = [call.plural for call in cluster.kube.writes if call.verb == "delete"]
    order = list(dict.fromkeys(deleted))[1:]
    assert order[: len(OWNED)] == [kind.plural for kind in OWNED]


async def test_removal_in_the_middle_of_an_installation(cluster: Cluster) -> None:
    operator = await cluster.operator()
    await operator.step()
    cluster.settle()
    await operator.step()
    await cluster.kube.delete(KUBEVIRT, "kubevirt", NAMESPACE)
    assert (await operator.run(cluster))[-1] == "gone"
    cluster.kube.put(KUBEVIRT, kubevirt())
    assert (await operator.run(cluster))[-1] == "Deployed"


async def test_single_node_gets_single_replicas() -> None:
    cluster = Cluster(nodes=1)
    cluster.kube.put(KUBEVIRT, kubevirt())
    await (await cluster.operator()).run(cluster)
    api = cluster.kube.peek(DEPLOYMENT, "virt-api", NAMESPACE)
    assert api is not None
    assert api["spec"]["replicas"] == 1
