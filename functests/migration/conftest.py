"""Policies for one test's namespace: cluster-scoped, so each is named by it and goes with the test."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from functests.libs import undo
from functests.libs.kube import Space
from functests.libs.moves import POLICIES


@pytest.fixture
def policy(space: Space) -> Iterator[Callable[..., str]]:
    """Makes a MigrationPolicy for all VMIs of the test's namespace that have ``vmi_labels``; returns its name."""
    made: list[tuple[str, undo.Note]] = []

    def make(*, vmi_labels: Mapping[str, str] | None = None, **spec: Any) -> str:
        name = f"{space.name}-{len(made)}"
        selectors = {
            "namespaceSelector": {"kubernetes.io/metadata.name": space.name},
            "virtualMachineInstanceSelector": dict(vmi_labels or {}),
        }
        made.append((name, undo.noted(undo.Request(method="DELETE", path=f"{POLICIES}/{name}"))))
        space.rest.post(POLICIES, {
            "apiVersion": "migrations.kubevirt.io/v1alpha1", "kind": "MigrationPolicy",
            "metadata": {"name": name}, "spec": {"selectors": selectors, **spec}}).ok()
        return name

    yield make
    for name, note in made:
        space.rest.delete(f"{POLICIES}/{name}")
        note.done()
