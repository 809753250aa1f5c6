"""The ledger, on a real cluster: a leak of each kind is planted, and each must be named."""

import pytest

from functests.harness import leaks
from functests.libs import ledger_book, patience
from functests.libs.cluster import Cluster
from functests.libs.ledger_book import Leak, book_of
from functests.libs.nodes import Nodes
from functests.libs.rest import Rest

PLANTER, NEIGHBOUR = "planter", "neighbour"


@pytest.mark.serial
@pytest.mark.demand(vcpus=0, memory_mib=0, boots=0, seconds=40)
@pytest.mark.case("HAR-001")
def test_a_leak_of_each_kind_is_named(
    cluster: Cluster, admin: Rest, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Preconditions: two ledgers, one of a test that has the cluster for itself, one of a test beside it.
    Steps: plant one leak of each kind on a node and in the API; close both; take the leaks away.
    Expected: the first test is told to have left each of them, by kind and name; those that show no owner are orphans
        for the second; afterwards nothing of it is there.
    """
    monkeypatch.setattr(ledger_book, "SETTLE_S", 1.0)
    monkeypatch.setattr(ledger_book, "CLOSE_S", 1.0)
    monkeypatch.setattr(Rest, "agent", Rest.agent)
    monkeypatch.delenv("PYTEST_XDIST_TESTRUNUID", raising=False)       # else the first pages of two books have one mark
    node = nodes[cluster.workers[-1]]
    planted = leaks.Planted(node, admin)
    beside, alone = book_of(nodes, admin), book_of(nodes, admin)
    other = beside.open(NEIGHBOUR)
    page = alone.open(PLANTER, alone=True)          # what is written now bears its name
    page.claim.uids.add(leaks.OWNER)
    try:
        on_node, in_api = planted.on_node(), planted.in_api()
        with pytest.raises(Leak) as caught:
            page.close()
        told = str(caught.value).partition("\n\n")[0].splitlines()
        debts, _ = alone.close()
        other.close()
        _, orphans = beside.close()
    finally:
        planted.undo()

    assert told[0].startswith(f"{PLANTER} left behind"), told[0]
    assert {debt.test for debt in debts} == {PLANTER}, debts
    named = [*told, *(str(debt.item) for debt in debts)]
    where = {**dict.fromkeys(in_api, "api"), **dict.fromkeys(on_node, node.name)}
    missed = [
        kind for kind in where
        if not any(f"{where[kind]}: {kind} " in line and leaks.word(kind, node.name) in line for line in named)
    ]  # fmt: skip
    assert not missed, f"{missed} not in:\n" + "\n".join(named)
    unowned = " ".join(str(orphan.item) for orphan in orphans)
    silent = [kind for kind in (*on_node, "label", "taint", "cordon") if f"{where[kind]}: {kind} " not in unowned]
    assert silent == ["pod folder"], f"{silent} not in {unowned}"

    def left() -> list[str]:
        seen = beside.look()
        return [str(item) for item in seen.items if leaks.NAME in str(item) or leaks.OWNER in str(item)]

    patience.eventually("nothing of it is left", left, lambda items: not items, within_s=patience.promised(60))
