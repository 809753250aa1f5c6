"""Which cluster, as whom, in which namespace: the loading rules of kubectl.

``--kubeconfig``, else every file of $KUBECONFIG (the first that names a thing wins), else ~/.kube/config, else the
service account of the pod. https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/

Read here and not by a Kubernetes library, because loading one takes longer than everything else that virtctl does.
"""

import asyncio
import base64
import binascii
import json
import ssl
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import yaml

from virt.base import exec as processes
from virt.virtctl.errors import AccessError

PLUGIN_S: Final = 60.0
ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_LISTS: Final = ("clusters", "contexts", "users")

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Flags:
    """What the command line overrides."""

    kubeconfig: str = ""
    context: str = ""
    cluster: str = ""
    user: str = ""
    namespace: str = ""
    server: str = ""
    token: str = ""
    certificate_authority: str = ""
    insecure_skip_tls_verify: bool = False
    as_: str = ""
    as_group: tuple[str, ...] = ()


@dataclass(frozen=True)
class Access:
    """``tls`` is None for plain HTTP; ``server_hostname``: to verify instead of the URL's."""

    server: str
    namespace: str
    tls: ssl.SSLContext | None = None
    headers: Sequence[tuple[str, str]] = ()
    server_hostname: str | None = None


@dataclass(frozen=True)
class Chosen:
    """The parts of a kubeconfig that count now."""

    namespace: str
    cluster: Json = field(default_factory=dict)
    user: Json = field(default_factory=dict)


def load(flags: Flags, environment: Mapping[str, str]) -> Access:
    """Raises AccessError."""
    documents = [_read(path) for path in paths(flags, environment)]
    if not any(documents) and not flags.server:
        if "KUBERNETES_SERVICE_HOST" not in environment:
            raise AccessError("no configuration has been provided: set KUBECONFIG, or give --kubeconfig or --server")
        documents = [_of_account(environment)]
    return access(chosen(merged(documents), flags), flags, environment)


def paths(flags: Flags, environment: Mapping[str, str]) -> tuple[Path, ...]:
    """The files to read. One that was named has to exist; of several, or of the usual place, none has to."""
    if flags.kubeconfig:
        if not Path(flags.kubeconfig).is_file():
            raise AccessError(f"kubeconfig {flags.kubeconfig}: no such file")
        return (Path(flags.kubeconfig),)
    named = environment.get("KUBECONFIG", "")
    listed = [Path(part) for part in named.split(":") if part] or [
        Path(environment.get("HOME", "/")) / ".kube" / "config"]
    return tuple(path for path in listed if path.is_file())


def merged(documents: Sequence[Json]) -> Json:
    """One configuration of several: the first that says something is right."""
    result: dict[str, Any] = {name: {} for name in _LISTS}
    result["current-context"] = ""
    for document in documents:
        result["current-context"] = result["current-context"] or document.get("current-context") or ""
        for name in _LISTS:
            for entry in document.get(name) or ():
                result[name].setdefault(entry["name"], entry.get(name[:-1]) or {})
    return result


def chosen(config: Json, flags: Flags) -> Chosen:
    name = flags.context or config["current-context"]
    if name and name not in config["contexts"]:
        raise AccessError(f"context {name!r} does not exist")
    context = config["contexts"].get(name, {})
    parts: dict[str, Json] = {}
    for kind, asked in (("cluster", flags.cluster), ("user", flags.user)):
        wanted = asked or context.get(kind, "")
        if wanted and wanted not in config[f"{kind}s"]:
            raise AccessError(f"{kind} {wanted!r} does not exist")
        parts[kind] = config[f"{kind}s"].get(wanted, {})
    if not flags.server and not parts["cluster"].get("server"):
        raise AccessError("the kubeconfig names no server: set a current-context, or give --context or --server")
    return Chosen(flags.namespace or context.get("namespace") or "default", parts["cluster"], parts["user"])


def access(of: Chosen, flags: Flags, environment: Mapping[str, str]) -> Access:
    server = _url(str(flags.server or of.cluster["server"]))
    user = of.user
    if "exec" in user and not flags.token:
        user = {**user, **_of_plugin(user["exec"], environment)}
    headers: list[tuple[str, str]] = []
    if token := flags.token or _token(user):
        headers.append(("Authorization", f"Bearer {token}"))
    elif user.get("username"):
        pair = f"{user['username']}:{user.get('password', '')}".encode()
        headers.append(("Authorization", f"Basic {base64.b64encode(pair).decode()}"))
    if flags.as_ or user.get("as"):
        headers.append(("Impersonate-User", flags.as_ or user["as"]))
    headers += [("Impersonate-Group", group) for group in flags.as_group or user.get("as-groups") or ()]
    tls = _tls(of.cluster, user, flags) if server.startswith("https:") else None
    return Access(server, of.namespace, tls, headers, of.cluster.get("tls-server-name"))


def _url(server: str) -> str:
    try:
        parts = urlsplit(server)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:     # port may raise
            return server.rstrip("/")
    except ValueError:
        pass
    raise AccessError(f"the server {server!r} is no URL: write it as https://HOST:PORT")


def _read(path: Path) -> Json:
    """File names in it become absolute; what cannot be read names the file and no content."""
    try:
        document = yaml.safe_load(path.read_text())
    except OSError as error:
        raise AccessError(f"kubeconfig {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        raise AccessError(f"kubeconfig {path} is no YAML" + (f": line {mark.line + 1}" if mark else "")) from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise AccessError(f"kubeconfig {path} is no kubeconfig")
    for kind, names in (("cluster", ("certificate-authority",)), ("context", ()),
                        ("user", ("client-certificate", "client-key", "tokenFile"))):
        for place, entry in enumerate(document.get(f"{kind}s") or ()):
            if not isinstance(entry, dict) or "name" not in entry or not isinstance(entry.get(kind) or {}, dict):
                raise AccessError(f"kubeconfig {path}: {kind}s[{place}] has to be a name and a {kind}")
            part = entry.get(kind) or {}
            part.update({name: str(path.parent / part[name]) for name in names if part.get(name)})
    return document


def _of_account(environment: Mapping[str, str]) -> Json:
    host, port = environment["KUBERNETES_SERVICE_HOST"], environment.get("KUBERNETES_SERVICE_PORT", "443")
    host = f"[{host}]" if ":" in host else host
    namespace = ACCOUNT / "namespace"
    cluster = {"server": f"https://{host}:{port}", "certificate-authority": str(ACCOUNT / "ca.crt")}
    context = {"cluster": "pod", "user": "pod", "namespace": namespace.read_text() if namespace.exists() else ""}
    return {
        "current-context": "pod",
        "clusters": [{"name": "pod", "cluster": cluster}],
        "users": [{"name": "pod", "user": {"tokenFile": str(ACCOUNT / "token")}}],
        "contexts": [{"name": "pod", "context": context}],
    }


def _token(user: Json) -> str:
    if user.get("token") or not user.get("tokenFile"):
        return str(user.get("token") or "")
    try:
        return Path(user["tokenFile"]).read_text().strip()
    except OSError as error:
        raise AccessError(f"token file {user['tokenFile']}: {error.strerror}") from error


def _tls(cluster: Json, user: Json, flags: Flags) -> ssl.SSLContext:
    skips = flags.insecure_skip_tls_verify or cluster.get("insecure-skip-tls-verify")
    authority, data = flags.certificate_authority or cluster.get("certificate-authority"), None
    try:
        if not flags.certificate_authority and cluster.get("certificate-authority-data"):
            authority, data = None, _decoded(cluster, "certificate-authority-data").decode("ascii")
        context = ssl.create_default_context(cafile=authority, cadata=data)
        # Kubernetes' own certificate authorities do not follow the letter of RFC 5280 everywhere.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if skips:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if user.get("client-certificate-data") or user.get("client-certificate"):
            _load_pair(context, user)
    except (OSError, ValueError) as error:            # ssl.SSLError is the former
        raise AccessError(f"the certificates of the kubeconfig cannot be used: {error}") from error
    return context


def _load_pair(context: ssl.SSLContext, user: Json) -> None:
    """ssl reads certificates of clients from files only; ours is there for a moment, for us alone."""
    parts = []
    for name in ("client-certificate", "client-key"):
        inline = user.get(f"{name}-data")
        if not inline and not user.get(name):
            raise AccessError(f"the user of the kubeconfig has no {name} to its certificate")
        parts.append(_decoded(user, f"{name}-data") if inline else Path(user[name]).read_bytes())
    with tempfile.NamedTemporaryFile(prefix="virtctl-") as file:
        file.write(b"\n".join(parts))
        file.flush()
        context.load_cert_chain(file.name)


def _decoded(part: Json, name: str) -> bytes:
    try:
        return base64.b64decode(part[name])
    except (binascii.Error, ValueError, TypeError):
        raise AccessError(f"{name} of the kubeconfig is no base64") from None


def _of_plugin(plugin: Json, environment: Mapping[str, str]) -> Json:
    """Credentials that a program gives out (client.authentication.k8s.io)."""
    given = {entry["name"]: entry["value"] for entry in plugin.get("env") or ()}
    info = {"apiVersion": plugin.get("apiVersion", "client.authentication.k8s.io/v1"), "kind": "ExecCredential",
            "spec": {"interactive": False}}
    argv = [plugin.get("command", ""), *(plugin.get("args") or ())]
    try:
        result = asyncio.run(processes.run(
            argv, deadline_s=PLUGIN_S, env={**environment, **given, "KUBERNETES_EXEC_INFO": json.dumps(info)}))
        status = json.loads(result.stdout)["status"]
    except (processes.RunError, ValueError, KeyError, TypeError) as error:
        raise AccessError(f"the credential plugin {argv[0]!r} gave no credentials: {type(error).__name__}") from error
    pem = {name: base64.b64encode(status[key].encode()).decode()
           for name, key in (("client-certificate-data", "clientCertificateData"),
                             ("client-key-data", "clientKeyData")) if status.get(key)}
    return {**pem, "token": status.get("token", "")}


