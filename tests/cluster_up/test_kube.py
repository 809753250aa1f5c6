"""The API server on a machine that stands still now and then: away, busy, late with its lists."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cluster_up.again import again
from cluster_up.errors import ClusterError
from cluster_up.kube import Kube, KubeError, unless_away

DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
    "metadata": {"name": "things.example.org"},
    "spec": {"group": "example.org", "names": {"kind": "Thing"}, "versions": [
        {"name": "v1", "served": True}, {"name": "v0", "served": False}]},
}  # fmt: skip
THING = {"apiVersion": "example.org/v1", "kind": "Thing", "metadata": {"name": "one"}}


class Server:
    """Answers by path; ``script`` has what comes first, an error or a text, for "METHOD path"."""

    def __init__(self, script: dict[str, list[KubeError | str]]) -> None:
        self.script = script
        self.asked: list[str] = []

    def request(self, method: str, path: str, **_: Any) -> str:
        asked = f"{method} {path.partition('?')[0]}"
        self.asked.append(asked)
        left = self.script[asked]
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, KubeError):
            raise answer
        return answer


def refusal(code: int) -> KubeError:
    return KubeError(code, "PATCH", "/x", "no")


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, list[KubeError | str]]], tuple[Kube, Server]]:
    def make(script: dict[str, list[KubeError | str]]) -> tuple[Kube, Server]:
        server, kube = Server(script), Kube(Path("/nowhere"))
        monkeypatch.setattr(kube, "_request", server.request)
        monkeypatch.setattr(time, "sleep", lambda seconds: None)
        return kube, server

    return make


def listed(*kinds: str) -> str:
    found = [{"kind": kind, "name": f"{kind.lower()}s", "namespaced": False} for kind in kinds]
    return json.dumps({"resources": found})


Serve = Callable[[dict[str, list[KubeError | str]]], tuple[Kube, Server]]
_AT = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/things.example.org"


def test_a_kind_is_applied_only_when_the_list_of_resources_has_it(served: Serve) -> None:
    """A definition is established before the list that names its kind is made anew."""
    established = json.dumps({"status": {"conditions": [{"type": "Established", "status": "True"}]}})
    kube, server = served({
        "GET /apis/apiextensions.k8s.io/v1": [json.dumps({"resources": [{
            "kind": "CustomResourceDefinition", "name": "customresourcedefinitions", "namespaced": False}]})],
        f"PATCH {_AT}": ["{}"],
        f"GET {_AT}": ["{}", refusal(503), established],
        "GET /apis/example.org/v1": [refusal(404), listed(), listed("Thing")],
        "PATCH /apis/example.org/v1/things/one": ["{}"],
    })
    kube.apply([DEFINITION, THING])
    assert server.asked[-1] == "PATCH /apis/example.org/v1/things/one"
    assert server.asked.count("GET /apis/example.org/v1") == 4, "twice in vain, once with the kind, once for its path"


@pytest.mark.parametrize("code", [0, 429, 500, 503])
def test_a_server_that_is_away_or_busy_is_asked_again(served: Serve, code: int) -> None:
    kube, server = served({
        "GET /apis/example.org/v1": [listed("Thing")],
        "PATCH /apis/example.org/v1/things/one": [refusal(code), refusal(code), "{}"],
    })
    kube.apply([THING])
    assert server.asked.count("PATCH /apis/example.org/v1/things/one") == 3


def test_a_refusal_is_told_at_once(served: Serve) -> None:
    kube, server = served({
        "GET /apis/example.org/v1": [listed("Thing")],
        "PATCH /apis/example.org/v1/things/one": [refusal(422)],
    })
    with pytest.raises(KubeError, match="422"):
        kube.apply([THING])
    assert server.asked.count("PATCH /apis/example.org/v1/things/one") == 1
    with pytest.raises(KubeError, match="422"):
        unless_away(lambda: raised(refusal(422)), "away")
    assert unless_away(lambda: raised(refusal(500)), "away") == "away"


def raised(error: ClusterError) -> str:
    raise error


def test_what_does_not_pass_in_time_is_told_as_what_it_is() -> None:
    said: list[str] = []
    with pytest.raises(KubeError, match="503"):
        again(lambda: raised(refusal(503)), lambda error: True, deadline_s=0.01, every_s=0, log=said.append)
    assert "503" in said[0]
