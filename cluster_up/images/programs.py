"""Programs compiled from Go modules: the control plane, the node's agents, kind, the registry.

Each is cached by its recipe (module files, version, flags) and compiler, so a change of one compiles one.
"""

import json
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cluster_up.exec import Log
from cluster_up.images import golang
from cluster_up.images.recipe import RECIPES, content, digest, made

KUBERNETES_VERSIONS = ("1.34.4",)         # those that recipes/kubernetes pins
KIND_VERSION = "0.33.0"
_STRIP = "-s -w"
_BUILD_DEADLINE_S = 3600.0


@dataclass(frozen=True)
class Program:
    """One or more commands of one module. With ``module`` it is `go install`ed; else recipes/<name> is its module.

    ``packages`` are import paths; each gives one file in the folder, named by its last element.
    """

    name: str
    packages: tuple[str, ...]
    module: str = ""
    ldflags: str = _STRIP

    def identity(self) -> str:
        recipe = [] if self.module else content(RECIPES / self.name)
        return digest(self.name, self.module, self.ldflags, *self.packages, go_version(), *recipe)


def _kubernetes_flags(version: str) -> str:
    package = "k8s.io/component-base/version"
    major, minor, _ = version.split(".")
    values = {
        "gitVersion": f"v{version}", "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean",
        "gitCommit": "0" * 40, "buildDate": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    flags = [f"-X {package}.{name}={value}" for name, value in values.items()]
    return " ".join([_STRIP, *flags, f"-X k8s.io/client-go/pkg/version.gitVersion=v{version}"])


KUBERNETES = Program(
    "kubernetes",
    tuple(
        f"k8s.io/kubernetes/cmd/{name}"
        for name in (
            "kubeadm", "kubelet", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy",
            "kubectl",
        )
    ),
    ldflags=_kubernetes_flags(KUBERNETES_VERSIONS[0]),
)  # fmt: skip
ETCD = Program("etcd", ("go.etcd.io/etcd/server/v3",))
COREDNS = Program("coredns", (".",))
KIND = Program("kind", ("sigs.k8s.io/kind",), module=f"sigs.k8s.io/kind@v{KIND_VERSION}")
REGISTRY = Program(
    "registry", ("github.com/distribution/distribution/v3/cmd/registry",),
    module="github.com/distribution/distribution/v3/cmd/registry@v3.1.2",
)  # fmt: skip
LOCAL_PATH = Program(
    "local-path-provisioner", ("github.com/rancher/local-path-provisioner",),
    module="github.com/rancher/local-path-provisioner@v0.0.30",
)  # fmt: skip


@cache
def go_version() -> str:
    return golang.version_of(golang.command())


def folder(program: Program, log: Log) -> Path:
    """The folder with the program's commands, compiled now unless it is cached."""

    def compile_into(place: Path) -> None:
        how_long = "about ten minutes" if program is KUBERNETES else "a minute or two"
        log(f"compiling {program.name} ({how_long} without Go's build cache)")
        environment = {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOTOOLCHAIN": "local"}
        flags = ["-trimpath", "-ldflags", program.ldflags]
        if program.module:
            environment["GOBIN"] = str(place)
            golang.run(["install", *flags, program.module], log, deadline_s=_BUILD_DEADLINE_S, env=environment)
            return
        source = place / ".source"
        shutil.copytree(RECIPES / program.name, source)
        target = place / program.name if len(program.packages) == 1 else place
        output = f"{target}" if target != place else f"{place}/"
        argv = ["build", *flags, "-o", output, *program.packages]
        golang.run(argv, log, deadline_s=_BUILD_DEADLINE_S, cwd=source, env=environment)
        shutil.rmtree(source)

    return made(program.name, program.identity(), compile_into)


def module_source(module: str) -> Path:
    """The folder of a module's source in Go's module cache, downloaded unless it is there."""
    argv = ["mod", "download", "-json", module]
    found = golang.run(argv, lambda line: None, deadline_s=300, env={"GOTOOLCHAIN": "local"})
    return Path(json.loads(found.stdout)["Dir"])
