"""The images of the stack, one per component, in layers that change at different speeds.

Debian and the dependencies are an image of their own, made once for all services. On it lie what the services share of
our code, and what is the component's own. References hold the hash of everything that goes in, so the same source gives
the same reference, an unchanged image is not built, and a changed line of one component is one small layer.
"""

import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster_up import docker
from cluster_up import exec as host
from cluster_up.exec import Log
from cluster_up.images import debian, scratch
from cluster_up.images.recipe import content, digest, made

_VERSION = "2"                          # raise it when a Dockerfile below changes what comes out
_SUITE = "trixie"
_PYTHON = "3.13"                        # trixie's
_HELPERS = "virt/launcher/helpers"      # static C programs
_STUBS = "virt/launcher/stubs"          # C of shared libraries, NAME.so.N.c, that stand in for larger ones
_QEMU_USER = 107
_APP, _DEPS = "/opt/virt/app", "/opt/virt/deps"
_COMPILE = "python3 -m compileall -q --invalidation-mode unchecked-hash"


@dataclass(frozen=True)
class Base:
    """What images stand on: Debian packages, and direct dependencies by name.

    The versions of the dependencies, and those of what they need, are the lock's.
    """

    name: str
    packages: tuple[str, ...]
    requirements: tuple[str, ...]


@dataclass(frozen=True)
class Component:
    """``shared`` and ``own`` are what of virt/ is in the image; a change elsewhere leaves the image as it is.

    Components with the same base and the same ``shared`` have these layers in common.
    """

    name: str
    base: Base
    shared: tuple[str, ...]
    own: tuple[str, ...]
    helpers: bool = False
    stubs: bool = False

    @property
    def source(self) -> tuple[str, ...]:
        return (*self.shared, *self.own)


_SERVICE = Base(
    "virt",
    ("ca-certificates", "iproute2", "nftables", "procps", "python3"),
    (
        "aiohttp", "cryptography", "grpcio", "lightkube", "msgspec", "prometheus-client", "protobuf", "pyroute2",
        "structlog",
    ),
)
_SHARED = ("__init__.py", "api", "base", "cli/__init__.py", "kube")

OPERATOR = Component("virt-operator", _SERVICE, _SHARED, ("cli/operator.py", "operator"))
API = Component("virt-api", _SERVICE, _SHARED, ("apiserver", "cli/api.py", "webhooks"))
CONTROLLER = Component("virt-controller", _SERVICE, _SHARED, ("cli/controller.py", "controller"))
HANDLER = Component("virt-handler", _SERVICE, _SHARED, ("cli/handler.py", "handler", "rpc"), helpers=True)
LAUNCHER = Component(
    "virt-launcher",
    Base(
        "virt-launcher",
        (
            "ca-certificates", "iproute2", "libvirt-clients", "libvirt-daemon", "libvirt-daemon-driver-qemu",
            "libvirt-daemon-log", "netcat-openbsd", "ovmf", "procps", "python3", "python3-libvirt", "qemu-system-x86",
            "qemu-utils", "seabios",
        ),
        ("lxml", "msgspec", "pycdlib", "structlog"),
    ),
    ("__init__.py", "api", "base", "cli/__init__.py", "rpc"),
    ("cli/launcher.py", "launcher"),
    helpers=True,
    stubs=True,
)  # fmt: skip
SERVICES = (OPERATOR, API, CONTROLLER, HANDLER)
COMPONENTS = (*SERVICES, LAUNCHER)


def pinned(requirements: Sequence[str], lock: str) -> list[str]:
    """``requirements`` at the versions of the lock file's text. Raises KeyError for one that it lacks.

    >>> pinned(["msgspec"], "lxml==6.1.3\\nmsgspec==0.22.0")
    ['msgspec==0.22.0']
    """
    versions = dict(re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", lock, re.MULTILINE))
    return [f"{name}=={versions[name]}" for name in requirements]


def sources(names: Sequence[str], root: Path) -> list[Path]:
    """Files and folders of the tree ``root`` by their names in virt/; those that are not written yet are left out."""
    return [place for name in names if (place := root / "virt" / name).exists()]


def _is_no_source(path: Path) -> bool:
    return "__pycache__" in path.parts or path.suffix in (".pyc", ".md")


def _dependencies_identity(base: Base, root: Path) -> str:
    return digest(_PYTHON, (root / "requirements.lock").read_text(), *base.requirements)


def base_name_of(base: Base, root: Path) -> str:
    """``name:hash`` of Debian and dependencies as one image of the engine."""
    packages = debian.identity(_SUITE, base.packages, "minbase")
    return f"virt-base-{base.name}:{digest(base_dockerfile(''), packages, _dependencies_identity(base, root))}"


def name_of(component: Component, root: Path) -> str:
    """``name:hash`` of the image that the source tree ``root`` gives, built or not."""
    more = [root / _HELPERS] if component.helpers else []
    identity = digest(
        _VERSION, base_name_of(component.base, root),
        *content(*sources(component.source, root), *more, skip=_is_no_source),
    )  # fmt: skip
    return f"{component.name}:{identity}"


def build(component: Component, root: Path, log: Log) -> str:
    """The image on the engine, ``name:hash``, built now unless it is there. Seconds when only code changed."""
    tag = name_of(component, root)
    if docker.has_image(tag):
        return tag
    base = _base(component.base, root, log)
    with scratch.folder("image") as context:
        for folder, names in (("shared", component.shared), ("own", component.own)):
            for source in sources(names, root):
                _copy(source, context / folder / source.relative_to(root / "virt"))
        if component.helpers:
            helpers(root, context / "helpers")
        if component.stubs:
            stubs(root, context / "stubs")
        (context / "Dockerfile").write_text(dockerfile(base, component))
        docker.build(context, tag, log=log)
    return tag


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


def dockerfile(base: str, component: Component) -> str:
    """Layers by how often they change. Bytecode is made here, once, by the Python that will run it."""
    own = " ".join(f"{_APP}/virt/{name}" for name in component.own)
    lines = [f"FROM {base}"]
    if component.stubs:
        # The linker looks there first. QEMU is started, for it binds every function at its start.
        lines += ["COPY stubs/ /usr/local/lib/", "RUN ldconfig && qemu-system-x86_64 --version"]
    lines += [f"COPY shared/ {_APP}/virt/", f"RUN {_COMPILE} {_APP}"]
    if component.helpers:
        lines.append("COPY helpers/ /usr/lib/virt/")
    return "\n".join([*lines, f"COPY own/ {_APP}/virt/", f"RUN {_COMPILE} {own}"]) + "\n"


def _base(base: Base, root: Path, log: Log) -> str:
    tag = base_name_of(base, root)
    if docker.has_image(tag):
        return tag
    below = debian.base_image(base.name, _SUITE, base.packages, log=log)
    dependencies = _dependencies(base, root, log)
    with scratch.folder("image") as context:
        shutil.copytree(dependencies, context / "deps", copy_function=_link)
        (context / "Dockerfile").write_text(base_dockerfile(below))
        docker.build(context, tag, log=log)
    return tag


def base_dockerfile(below: str) -> str:
    return f"""FROM {below}
ENV PYTHONPATH={_APP}:{_DEPS} PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 LANG=C.UTF-8
RUN sed -i '/:x:{_QEMU_USER}:/d' /etc/passwd /etc/group \\
 && echo 'qemu:x:{_QEMU_USER}:{_QEMU_USER}:qemu:/var/run/kubevirt-private:/bin/sh' >> /etc/passwd \\
 && echo 'qemu:x:{_QEMU_USER}:' >> /etc/group
COPY deps/ {_DEPS}/
RUN {_COMPILE} {_DEPS}
"""


def helpers(root: Path, target: Path) -> None:
    """Compile every C file of the launcher's helpers into ``target``, static: they run in images without a libc."""
    target.mkdir()
    for source in sorted((root / _HELPERS).glob("*.c")):
        argv: list[str | Path] = ["gcc", "-static", "-Os", "-s", "-Wall", "-Wextra", "-o", target / source.stem, source]
        host.run(argv, deadline_s=60)


def stubs(root: Path, target: Path) -> None:
    """Compile the libraries of stubs into ``target``."""
    target.mkdir()
    for source in sorted((root / _STUBS).glob("*.c")):
        argv = ["gcc", "-shared", "-fPIC", "-Os", "-s", "-Wall", "-Wextra", f"-Wl,-soname,{source.stem}"]
        host.run([*argv, "-o", target / source.stem, source], deadline_s=60)


def _dependencies(base: Base, root: Path, log: Log) -> Path:
    """The folder with the Python packages, wheels only, for the image's Python."""
    wanted = pinned(base.requirements, (root / "requirements.lock").read_text())

    def install(place: Path) -> None:
        log(f"Python packages of {base.name}: {' '.join(wanted)}")
        argv: list[str | Path] = [
            Path(sys.executable).with_name("uv"), "pip", "install", "--quiet", "--no-config", "--target", place,
            "--python-version", _PYTHON, "--only-binary", ":all:", "--constraint", root / "requirements.lock", *wanted,
        ]  # fmt: skip
        host.run(argv, deadline_s=600, on_line=log)

    return made(f"python-{base.name}", _dependencies_identity(base, root), install)


def _link(source: str, target: str) -> None:
    Path(target).hardlink_to(source)
