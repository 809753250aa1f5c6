"""What has become of a guest whose stream has ended."""

from typing import Any

import pytest

from tests.virt.virtctl.stage import STARTED, vmi
from virt.virtctl.moves import Fate, fate


@pytest.mark.parametrize(("seen", "expected"), [
    (vmi(), Fate.STAYED),
    (vmi(**STARTED), Fate.MOVING),
    (vmi(**STARTED, completed=True, failed=True), Fate.STAYED),
    (vmi("b", **STARTED, completed=True), Fate.MOVED),
    (vmi("b", "Succeeded"), Fate.ENDED),
    ({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "status": {"phase": "Running", "nodeName": "b"}},
     Fate.ENDED),
    ({}, Fate.ENDED),
])
def test_what_has_become_of_a_guest(seen: dict[str, Any], expected: Fate) -> None:
    assert fate(seen, "a") is expected
