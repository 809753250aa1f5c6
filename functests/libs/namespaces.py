"""Namespaces for tests: made here alone, so that each carries the name of its run."""

from collections.abc import Mapping

from functests.libs import retries, runs
from functests.libs.rest import Rest
from functests.libs.retries import Unanswered

RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
_PATH = "/api/v1/namespaces"


def create(rest: Rest, name: str, labels: Mapping[str, str] | None = None, *, agent: str = "") -> None:
    """A new one; ``agent`` is whose it is where that is not the test's own client. Its name is nobody else's, so it is
    asked for again where the API server could not answer: what an earlier request has made is there then."""
    body = {"metadata": {"name": name, "labels": runs.marked(labels)}}
    headers = {"User-Agent": agent} if agent else {}

    def made() -> None:
        answer = rest.request("POST", _PATH, body, headers=headers)
        if answer.code >= 500 or answer.code == 429:
            raise Unanswered(f"the API server answered {answer.code} to {answer.asked}: {answer.text[:200]}")
        assert answer.code in (201, 409), f"{answer.code} {answer.text[:800]}"

    retries.again(f"namespace {name}", made)
