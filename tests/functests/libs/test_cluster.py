"""The cluster under test, out of what ``cluster_up status`` says of it."""

import json
import time
from collections.abc import Callable

import pytest

from cluster_up import exec as host
from functests.libs import cluster as clusters

NODES = [{"name": "t-control-plane", "role": "control-plane"}, {"name": "t-worker", "role": "worker"}]
DOCUMENT = json.dumps({
    "name": "t", "kubeconfig": "/x", "nodes": NODES, "guest_images": {}, "component_images": {}, "capabilities": {}})

Said = tuple[int, str, str]         # exit status, standard output, standard error


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)

    def make(*answers: Said) -> None:
        left = [*answers]

        def run(argv: list[str], *, deadline_s: float, check: bool) -> host.Result:
            code, out, error = left.pop(0) if len(left) > 1 else left[0]
            return host.Result(tuple(argv), "/", code, out, error, 0.1)

        monkeypatch.setattr(host, "run", run)

    return make


def test_a_cluster_of_which_a_part_does_not_answer_just_now_is_given_time(says: Callable[..., None]) -> None:
    says((1, DOCUMENT, ""), (1, DOCUMENT, ""), (0, DOCUMENT, ""))
    assert clusters.load("t").workers == ("t-worker",)


def test_where_there_is_none_nobody_waits(says: Callable[..., None]) -> None:
    says((1, "", "there is no cluster 't'"), (0, DOCUMENT, ""))
    with pytest.raises(host.RunError, match="there is no cluster 't'"):
        clusters.load("t")
