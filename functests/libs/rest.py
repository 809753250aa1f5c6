"""Plain HTTP against the API server: status codes and bodies as they are on the wire.

The tests judge exact codes, Status objects and absent keys, so nothing here decodes into types or retries.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import urllib3
from kubernetes import client

from functests.libs import retries
from functests.libs.retries import Unanswered

VM = "virtualmachines"
VMI = "virtualmachineinstances"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
ANSWER_S = 75               # kube-apiserver itself gives up after 60 s; until then the answer is a server's
AGENT = "functests"          # clients of tests: the API server notes the writer of each field under this name


@dataclass(frozen=True)
class Answer:
    """``body`` is the decoded JSON, or {} when there is none; ``text`` is what really came, ``asked`` the method and
    the path."""

    code: int
    body: Mapping[str, Any]
    text: str
    headers: Mapping[str, str]
    asked: str = ""

    @property
    def message(self) -> str:
        return str(self.body.get("message", self.text))

    @property
    def causes(self) -> list[Mapping[str, Any]]:
        """The causes of a Status object, each with reason, message and field."""
        return list((self.body.get("details") or {}).get("causes") or [])

    def ok(self) -> Mapping[str, Any]:
        """The body of an answer that must be a success. Raises Unanswered where the API server could not read."""
        said = f"the API server answered {self.code}{f' to {self.asked}' if self.asked else ''}: {self.text[:800]}"
        is_read = self.asked.startswith("GET ") and "/subresources." not in self.asked
        if is_read and (self.code >= 500 or self.code == 429):
            raise Unanswered(said)
        assert self.code < 300, said
        return self.body


@dataclass(frozen=True)
class Content:
    """An answer that is no JSON. ``kind`` is its media type."""

    code: int
    kind: str
    data: bytes


class Rest:
    """Requests with one identity: that of the credentials in ``api``, or ``user`` (and ``group``), whom these
    impersonate.

    kube-apiserver hands an impersonated user on to aggregated servers as it does with any other.
    """

    # One process runs one test at a time: the ledger gives it a name of its own.
    agent = AGENT

    def __init__(self, api: client.ApiClient, *, user: str = "", group: str = "") -> None:
        self._api = api
        self._user = user
        self._group = group

    def as_user(self, user: str, *, group: str = "") -> "Rest":
        """The same server, seen by an ordinary user (group system:authenticated) or service account; ``group`` is
        one more group."""
        return Rest(self._api, user=user, group=group)

    def with_token(self, token: str) -> "Rest":
        """The same server, with a bearer token instead of these credentials."""
        own = self._api.configuration
        settings = client.Configuration(
            host=own.host, api_key={"authorization": token}, api_key_prefix={"authorization": "Bearer"}
        )
        settings.ssl_ca_cert = own.ssl_ca_cert
        return Rest(client.ApiClient(settings))

    def identity(self) -> dict[str, str]:
        """Headers that say who asks; for WebSockets and watches too."""
        auth = self._api.configuration.get_api_key_with_prefix("authorization")
        headers = {"Authorization": str(auth)} if auth else {}
        if self._user:
            headers["Impersonate-User"] = self._user
        if self._group:
            headers["Impersonate-Group"] = self._group
        return headers

    @property
    def api(self) -> client.ApiClient:
        return self._api

    def fetch(self, path: str) -> Content:
        """GET for bytes, such as a picture."""
        pool: urllib3.PoolManager = self._api.rest_client.pool_manager
        sent = {"User-Agent": Rest.agent, **self.identity()}
        answer = pool.request("GET", self._api.configuration.host + path, headers=sent, retries=False, timeout=ANSWER_S)
        return Content(answer.status, answer.headers.get("Content-Type", ""), answer.data)

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """``body``: bytes and text are sent as they are, anything else as JSON, None sends nothing; ``content_type`` ""
        leaves that header out."""
        settings = self._api.configuration
        named = {"Accept": "application/json", "User-Agent": Rest.agent}
        sent = {**named, **self.identity(), **(headers or {})}
        data: bytes | None = None
        if body is not None:
            if content_type:
                sent["Content-Type"] = content_type
            text_body = body if isinstance(body, str | bytes) else json.dumps(body)
            data = text_body.encode() if isinstance(text_body, str) else text_body
        pool: urllib3.PoolManager = self._api.rest_client.pool_manager
        answer = pool.request(method, settings.host + path, body=data, headers=sent, retries=False, timeout=ANSWER_S)
        text = answer.data.decode(errors="replace")
        try:
            decoded = json.loads(text)
        except ValueError:
            decoded = {}
        body_read = decoded if isinstance(decoded, dict) else {}
        return Answer(answer.status, body_read, text, dict(answer.headers), f"{method} {path}")

    def get(self, path: str) -> Answer:
        return self.request("GET", path)

    def items(self, path: str) -> list[dict[str, Any]]:
        """Objects of the collection at ``path``, for the suite's own looks: asked again where the API server could not
        answer, since what comes of it is no test's subject."""
        found = retries.again(f"GET {path}", lambda: self.get(path).ok())
        return list(found["items"])

    def put(self, path: str, body: object = None) -> Answer:
        return self.request("PUT", path, body)

    def post(self, path: str, body: object) -> Answer:
        return self.request("POST", path, body)

    def patch(self, path: str, body: object, content_type: str = MERGE_PATCH) -> Answer:
        return self.request("PATCH", path, body, content_type=content_type)

    def delete(self, path: str, body: object = None) -> Answer:
        return self.request("DELETE", path, body)


def kubevirt_path(plural: str, namespace: str, name: str = "", *, version: str = "v1") -> str:
    """Path of a kubevirt.io object, or of the collection when ``name`` is empty."""
    return f"/apis/kubevirt.io/{version}/namespaces/{namespace}/{plural}" + (f"/{name}" if name else "")


def subresource_path(plural: str, namespace: str, name: str, subresource: str, *, version: str = "v1") -> str:
    return f"/apis/subresources.kubevirt.io/{version}/namespaces/{namespace}/{plural}/{name}/{subresource}"


def core_path(plural: str, namespace: str, name: str = "") -> str:
    return f"/api/v1/namespaces/{namespace}/{plural}" + (f"/{name}" if name else "")
