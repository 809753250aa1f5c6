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


def test_one_that_is_ill_can_be_had_all_the_same_by_those_who_mend_it(says: Callable[..., None]) -> None:
    says((1, DOCUMENT, "virt-api is not ready"), (0, "", "never asked"))
    assert clusters.load("t", well=False).name == "t"


def test_one_that_stays_ill_is_an_error(says: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "WELL_S", 0.0)
    says((1, DOCUMENT, "virt-api is not ready"))
    with pytest.raises(host.RunError, match="virt-api is not ready"):
        clusters.load("t")
