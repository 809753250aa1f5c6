"""Requests to the API server, one at a time, over one connection, with nothing that is slow to load."""

import http.client
import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlsplit

from virt.virtctl.errors import ServerError
from virt.virtctl.kubeconfig import Access

ANSWER_S: Final = 40.0         # virt-api itself gives a node 30 s
_GROUP: Final = "/apis/kubevirt.io/v1"
_SUBRESOURCES: Final = "/apis/subresources.kubevirt.io/v1"


class Server:
    """``namespace`` is the one of the command. Every call raises ServerError with the server's own text."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self.namespace = access.namespace
        url = urlsplit(access.server)
        self._root = url.path
        self._connection: http.client.HTTPConnection = (
            http.client.HTTPConnection(url.netloc, timeout=ANSWER_S) if access.tls is None
            else _Https(url.netloc, timeout=ANSWER_S, context=access.tls, server_name=access.server_hostname))

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        self._connection.putrequest(method, self._root + path, skip_accept_encoding=True)
        try:
            for name, value in (("Accept", "application/json, */*"), *self.access.headers):
                self._connection.putheader(name, value)
            if data is not None:
                self._connection.putheader("Content-Type", "application/json")
            if data is not None or method == "PUT":
                self._connection.putheader("Content-Length", str(len(data or b"")))
            self._connection.endheaders(data)
            response = self._connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise unreachable(self.access, error) from error
        if response.status >= 400:
            raise ServerError(response.status, refusal(response.status, answer))
        return answer

    def read(self, path: str) -> Any:
        """The answer to a GET, parsed."""
        answer = self.call("GET", path)
        try:
            return json.loads(answer)
        except ValueError:
            raise ServerError(200, f"the server {self.access.server} is no Kubernetes API server: it answered "
                                   f"{answer[:80]!r}") from None

    def subresource(self, plural: str, name: str, action: str) -> str:
        return f"{_SUBRESOURCES}/namespaces/{quote(self.namespace)}/{plural}/{quote(name, safe='')}/{action}"

    def object(self, plural: str, name: str) -> str:
        return f"{_GROUP}/namespaces/{quote(self.namespace)}/{plural}/{quote(name, safe='')}"

    def core(self, plural: str, name: str) -> str:
        """An object of Kubernetes' own."""
        return f"/api/v1/namespaces/{quote(self.namespace)}/{plural}/{quote(name, safe='')}"

    def collection(self, plural: str, *, labels: str) -> str:
        """The objects with these labels."""
        return f"{_GROUP}/namespaces/{quote(self.namespace)}/{plural}?labelSelector={quote(labels, safe='')}"


class _Https(http.client.HTTPSConnection):
    """Verifies another host name than that of the URL, if one is given."""

    def __init__(self, netloc: str, *, timeout: float, context: Any, server_name: str | None) -> None:
        super().__init__(netloc, timeout=timeout, context=context)
        self._tls, self._server_name = context, server_name

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._server_name or self.host)


def refusal(code: int, body: bytes) -> str:
    """The message of a Status, else the text that came."""
    try:
        document = json.loads(body)
        if isinstance(document, dict) and document.get("message"):
            return str(document["message"])
    except ValueError:
        pass
    text = body[:500].decode(errors="replace").strip()
    return text or f"the server answered {code} {http.client.responses.get(code, '')}"


def unreachable(access: Access, error: Exception) -> ServerError:
    return ServerError(0, f"the server {access.server} cannot be reached: {error or type(error).__name__}")
