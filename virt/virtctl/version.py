"""Which version this is, and which one the cluster has."""

import json
import platform
import sys
from argparse import Namespace
from typing import Any, Final

from virt.virtctl.server import Server

VERSION: Final = "v0.1.0"             # the project's, as in pyproject.toml; the server's comes from what is installed
_FIELDS: Final = ("GitVersion", "GitCommit", "GitTreeState", "BuildDate", "GoVersion", "Compiler", "Platform")


def client_version() -> dict[str, str]:
    return {
        "gitVersion": VERSION, "gitCommit": "unknown", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": f"python{platform.python_version()}", "compiler": platform.python_implementation().lower(),
        "platform": f"{sys.platform}/{platform.machine()}",
    }


def version(server: Server | None, given: Namespace) -> int:
    """``server`` None: the client's only."""
    found: dict[str, Any] = {"clientVersion": client_version()}
    if server is not None:
        preferred = server.read("/apis/subresources.kubevirt.io")["preferredVersion"]["groupVersion"]
        found["serverVersion"] = server.read(f"/apis/{preferred}/version")
    if given.output == "json":
        print(json.dumps(found, indent=2))
    else:
        for name, title in (("clientVersion", "Client Version"), ("serverVersion", "Server Version")):
            if name in found:
                print(f"{title}: {written(found[name])}")
    theirs = found.get("serverVersion", {}).get("gitVersion", VERSION)
    if theirs.startswith("v") and _minor(theirs) != _minor(VERSION):
        print(f"client {VERSION} and server {theirs} differ: some commands may not work", file=sys.stderr)
    return 0


def written(info: dict[str, str]) -> str:
    """As KubeVirt's virtctl prints it, since scripts read it."""
    fields = ", ".join(f'{name}:"{info.get(name[:1].lower() + name[1:], "")}"' for name in _FIELDS)
    return f"version.Info{{{fields}}}"


def _minor(text: str) -> str:
    return ".".join(text.lstrip("v").split(".")[:2])
