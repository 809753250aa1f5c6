from typing import Any

import pytest

from virt.api import core, v1
from virt.api.clusterconfig import Migrations
from virt.controller.migration.policy import applied, chosen


def policy(name: str, namespace: str = "", vmi: str = "", **spec: Any) -> v1.MigrationPolicy:
    """Labels as ``a=1 b=2``."""
    def labels(text: str) -> dict[str, str]:
        return dict(pair.split("=") for pair in text.split())

    selectors = v1.MigrationPolicySelectors(
        namespace_selector=labels(namespace), virtual_machine_instance_selector=labels(vmi))
    return v1.MigrationPolicy(
        metadata=core.ObjectMeta(name=name), spec=v1.MigrationPolicySpec(selectors=selectors, **spec))


@pytest.mark.parametrize(("policies", "expected"), [
    ([policy("p", vmi="app=web")], "p"),
    ([policy("p", vmi="app=db")], None),
    ([policy("p", namespace="team=x", vmi="app=web")], "p"),
    ([policy("p", namespace="team=y", vmi="app=web")], None),
    ([policy("few", vmi="app=web"), policy("many", namespace="team=x", vmi="app=web")], "many"),
    ([policy("ns", namespace="team=x"), policy("vmi", vmi="app=web")], "vmi"),
    ([policy("z", vmi="app=web"), policy("b", vmi="app=web")], "b"),
    ([policy("all")], "all"),
    ([], None),
])
def test_the_policy_that_says_most_counts(policies: list[v1.MigrationPolicy], expected: str | None) -> None:
    found = chosen(policies, {"team": "x"}, {"app": "web", "tier": "1"})
    assert (found.metadata.name if found else None) == expected


@pytest.mark.parametrize(("spec", "base", "expected"), [
    ({"bandwidth_per_migration": "8Mi"}, Migrations(progress_timeout=7),
     Migrations(bandwidth_per_migration="8Mi", progress_timeout=7)),
    ({"allow_post_copy": True}, Migrations(), Migrations(allow_post_copy=True, allow_workload_disruption=True)),
    ({"allow_post_copy": True, "allow_workload_disruption": False}, Migrations(), Migrations(allow_post_copy=True)),
    ({"allow_auto_converge": True}, Migrations(allow_workload_disruption=True),
     Migrations(allow_auto_converge=True, allow_workload_disruption=True)),
    ({"completion_timeout_per_gib": 0}, Migrations(), Migrations(completion_timeout_per_gib=0)),
])
def test_a_policy_lies_over_the_clusters_settings(
    spec: dict[str, Any], base: Migrations, expected: Migrations
) -> None:
    assert applied(policy("p", **spec), base) == expected
    assert applied(None, base) == base
