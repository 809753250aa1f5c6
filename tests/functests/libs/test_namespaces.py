"""A namespace of a test carries its run's name, and the API server's own trouble does not cost the test."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from functests.libs import namespaces, retries
from functests.libs.rest import Answer, Rest
from functests.libs.runs import Runs

ROOT = Path(__file__).parents[3]


class Server:
    def __init__(self, *codes: int) -> None:
        self.codes, self.asked = [*codes], list[tuple[Any, Mapping[str, str]]]()

    def request(self, method: str, path: str, body: object, *, headers: Mapping[str, str]) -> Answer:
        self.asked.append((body, headers))
        return Answer(self.codes.pop(0), {}, "etcdserver: request timed out", {}, f"{method} {path}")


def _create(server: Server, **more: str) -> None:
    namespaces.create(cast("Rest", server), "ft-a", namespaces.RESTRICTED, **more)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    retries.noted()


def test_it_carries_the_name_of_its_run_and_of_its_maker(known: Runs) -> None:
    run, server = known.begin(), Server(201)
    _create(server, agent="somebody")
    ((body, headers),) = server.asked
    labels = {"functest": "true", "functest-run": run, "pod-security.kubernetes.io/enforce": "restricted"}
    assert body == {"metadata": {"name": "ft-a", "labels": labels}}
    assert headers == {"User-Agent": "somebody"}


def test_one_that_could_not_be_answered_is_asked_for_again_and_may_be_there_by_then() -> None:
    server = Server(500, 429, 409)
    _create(server)
    assert server.codes == []
    assert len(retries.noted()) == 2


def test_a_refusal_is_the_tests_error() -> None:
    with pytest.raises(AssertionError, match="403"):
        _create(Server(403))


def test_nobody_else_makes_any() -> None:
    """But for a planted leak, which has a note of its own."""
    makes = re.compile(r'\.(post|request)\((?:"POST", )?"/api/v1/namespaces"')
    files = [path for path in (ROOT / "functests").rglob("*.py") if makes.search(path.read_text())]
    assert files == []
