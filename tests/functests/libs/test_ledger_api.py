"""Objects in the API: whose they are, and which go with their namespace."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from functests.libs.ledger import Claim, Item, Snapshot, judge
from functests.libs.ledger_api import look
from functests.libs.rest import Answer

ME = "functests-run-gw0-3"


def made(name: str, manager: str, **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": f"uid-{name}", "managedFields": [{"manager": manager}], **more}}


class Server:
    """Answers lists by path; everything else is empty, and one kind does not exist."""

    def __init__(self, **lists: list[dict[str, Any]]) -> None:
        self._lists = lists

    def request(self, method: str, path: str, headers: object = None) -> Answer:
        plural = path.rsplit("/", 1)[1]
        if plural == "kubevirts":
            return Answer(404, {}, "", {})
        return Answer(200, {"items": self._lists.get(plural, [])}, "", {})


def seen(**lists: list[dict[str, Any]]) -> Snapshot:
    server: Any = Server(**lists)
    with ThreadPoolExecutor(3) as pool:
        return look(server, pool)


def test_objects_belong_to_the_client_that_wrote_them() -> None:
    after = seen(
        clusterroles=[made("mine", ME), made("neighbours", "functests-run-gw1-9"), made("a-tool", "kubectl-create")]
    )
    left = judge(seen(), after, Claim(agent=ME))
    assert left.mine == {Item("ClusterRole", "api", "mine")}
    assert left.unclear == {Item("ClusterRole", "api", "a-tool")}


def test_a_policy_that_would_slow_everybodys_migrations_is_seen() -> None:
    left = judge(seen(), seen(migrationpolicies=[made("slow", ME)]), Claim(agent=ME))
    assert left.mine == {Item("MigrationPolicy", "api", "slow")}


def test_a_machine_belongs_to_its_namespace_and_does_not_follow_it() -> None:
    ending = made("ft-mine", ME, deletionTimestamp="2026-01-01T00:00:00Z")
    after = seen(
        namespaces=[ending],
        virtualmachineinstances=[made("vm", "x", namespace="ft-mine"), made("vm", "x", namespace="ft-other")],
        persistentvolumes=[{**made("pv", "x"), "spec": {"claimRef": {"namespace": "ft-mine"}}}],
    )
    left = judge(seen(), after, Claim(agent=ME, namespaces={"ft-mine"}))
    assert left.mine == {Item("VMI", "api", "ft-mine/vm")}
    assert after.follows == {Item("Namespace", "api", "ft-mine"), Item("PersistentVolume", "api", "pv")}


def test_labels_and_taints_of_nodes_are_seen() -> None:
    node = {**made("n1", "x", labels={"forgotten": "yes"}), "spec": {"taints": [{"key": "t", "effect": "NoSchedule"}]}}
    bare = {**made("n1", "x"), "spec": {}}
    left = judge(seen(nodes=[bare]), seen(nodes=[node]), Claim(agent=ME))
    assert {item.name for item in left.unclear} == {"forgotten=yes of node n1", "t:NoSchedule of node n1"}


def test_pods_of_the_stack_are_nobodys_leak() -> None:
    after = seen(pods=[made("virt-handler-x", "kubelet", namespace="kubevirt")])
    assert judge(seen(), after, Claim(agent=ME)).unclear == frozenset()
