"""The two images of the stack, in layers that change at different speeds: Debian, dependencies, our code.

References hold the hash of everything that goes in, so the same source gives the same reference, an unchanged image is
not built, and a changed line of code is one small layer to push.
"""

import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster_up import docker, paths
from cluster_up import exec as host
from cluster_up.images import debian
from cluster_up.images.recipe import content, digest, made

Log = Callable[[str], None]

_VERSION = "1"                          # raise it when the Dockerfile below changes what comes out
_SUITE = "trixie"
_PYTHON = "3.13"                        # trixie's
_HELPERS = "virt/launcher/helpers"      # static C programs, in both images
_STUBS = "virt/launcher/stubs"          # shared libraries in C, NAME.so.N.c, in the launcher's
_QEMU_USER = 107


@dataclass(frozen=True)
class Component:
    """``source`` is what of virt/ is in the image, so that a change elsewhere leaves the image as it is.

    ``requirements`` are direct dependencies by name; their versions, and those of what they need, are the lock's.
    """

    name: str
    packages: tuple[str, ...]
    requirements: tuple[str, ...]
    source: tuple[str, ...]


VIRT = Component(
    "virt",
    ("ca-certificates", "iproute2", "nftables", "procps", "python3"),
    (
        "aiohttp", "cryptography", "grpcio", "lightkube", "msgspec", "prometheus-client", "protobuf", "pyroute2",
        "structlog",
    ),
    ("__init__.py", "api", "apiserver", "base", "cli", "controller", "handler", "kube", "operator", "rpc", "virtctl",
     "webhooks"),
)
LAUNCHER = Component(
    "virt-launcher",
    (
        "ca-certificates", "iproute2", "libvirt-clients", "libvirt-daemon", "libvirt-daemon-driver-qemu",
        "libvirt-daemon-log", "netcat-openbsd", "ovmf", "procps", "python3", "python3-libvirt", "qemu-system-x86",
        "qemu-utils", "seabios",
    ),
    ("lxml", "msgspec", "pycdlib", "structlog"),
    ("__init__.py", "api", "base", "launcher", "rpc", "cli/__init__.py", "cli/launcher.py"),
)  # fmt: skip
COMPONENTS = (VIRT, LAUNCHER)


def pinned(requirements: Sequence[str], lock: str) -> list[str]:
    """``requirements`` at the versions of the lock file's text. Raises KeyError for one that it lacks.

    >>> pinned(["msgspec"], "lxml==6.1.3\\nmsgspec==0.22.0")
    ['msgspec==0.22.0']
    """
    versions = dict(re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", lock, re.MULTILINE))
    return [f"{name}=={versions[name]}" for name in requirements]


def sources(component: Component, root: Path) -> list[Path]:
    """Files and folders of the tree ``root`` that are in the image; those that are not written yet are left out."""
    return [place for name in component.source if (place := root / "virt" / name).exists()]


def _is_no_source(path: Path) -> bool:
    return "__pycache__" in path.parts or path.suffix in (".pyc", ".md")


def _dependencies_identity(component: Component, root: Path) -> str:
    return digest(_PYTHON, (root / "requirements.lock").read_text(), *component.requirements)


def name_of(component: Component, root: Path) -> str:
    """``name:hash`` of the image that the source tree ``root`` gives, built or not."""
    identity = digest(
        _VERSION,
        debian.identity(_SUITE, component.packages, "minbase"),
        _dependencies_identity(component, root),
        *content(*sources(component, root), root / _HELPERS, skip=_is_no_source),
    )
    return f"{component.name}:{identity}"


def build(component: Component, root: Path, log: Log) -> str:
    """The image on the engine, ``name:hash``, built now unless it is there. Seconds when only code changed."""
    tag = name_of(component, root)
    if docker.has_image(tag):
        return tag
    base = debian.base_image(component.name, _SUITE, component.packages, log=log)
    dependencies = _dependencies(component, root, log)
    with tempfile.TemporaryDirectory(dir=paths.cache_root(), prefix="image-") as scratch:
        context = Path(scratch)
        shutil.copytree(dependencies, context / "deps", copy_function=_link)
        for source in sources(component, root):
            target = context / "virt" / source.relative_to(root / "virt")
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        helpers(root, context / "helpers")
        if component is LAUNCHER:
            stubs(root, context / "stubs")
        (context / "Dockerfile").write_text(dockerfile(base, with_stubs=component is LAUNCHER))
        docker.build(context, tag, log=log)
    return tag


def dockerfile(base: str, *, with_stubs: bool = False) -> str:
    """Layers by how often they change. Bytecode is made once, here, by the Python that will run it."""
    path = "/opt/virt/app:/opt/virt/deps"
    # /usr/local/lib comes first for the linker. QEMU is started, for it binds every function at its start.
    stubs_layer = "COPY stubs/ /usr/local/lib/\nRUN ldconfig && qemu-system-x86_64 --version\n" if with_stubs else ""
    return f"""FROM {base}
RUN sed -i '/:x:{_QEMU_USER}:/d' /etc/passwd /etc/group \\
 && echo 'qemu:x:{_QEMU_USER}:{_QEMU_USER}:qemu:/var/run/kubevirt-private:/bin/sh' >> /etc/passwd \\
 && echo 'qemu:x:{_QEMU_USER}:' >> /etc/group
COPY deps/ /opt/virt/deps/
RUN python3 -m compileall -q --invalidation-mode unchecked-hash /opt/virt/deps
{stubs_layer}COPY helpers/ /usr/lib/virt/
COPY virt/ /opt/virt/app/virt/
RUN python3 -m compileall -q --invalidation-mode unchecked-hash /opt/virt/app
ENV PYTHONPATH={path} PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 LANG=C.UTF-8
"""


def helpers(root: Path, target: Path) -> None:
    """Compile every C file of the launcher's helpers into ``target``, static: they run in images without a libc."""
    target.mkdir()
    for source in sorted((root / _HELPERS).glob("*.c")):
        argv: list[str | Path] = ["gcc", "-static", "-Os", "-s", "-Wall", "-Wextra", "-o", target / source.stem, source]
        host.run(argv, deadline_s=60)


def stubs(root: Path, target: Path) -> None:
    """Compile the libraries that stand in for larger ones into ``target``."""
    target.mkdir()
    for source in sorted((root / _STUBS).glob("*.c")):
        argv = ["gcc", "-shared", "-fPIC", "-Os", "-s", "-Wall", "-Wextra", f"-Wl,-soname,{source.stem}"]
        host.run([*argv, "-o", target / source.stem, source], deadline_s=60)


def _dependencies(component: Component, root: Path, log: Log) -> Path:
    """The folder with the component's Python packages, wheels only, for the image's Python."""
    wanted = pinned(component.requirements, (root / "requirements.lock").read_text())

    def install(place: Path) -> None:
        log(f"Python packages of {component.name}: {' '.join(wanted)}")
        argv: list[str | Path] = [
            Path(sys.executable).with_name("uv"), "pip", "install", "--quiet", "--no-config", "--target", place,
            "--python-version", _PYTHON, "--only-binary", ":all:", "--constraint", root / "requirements.lock", *wanted,
        ]  # fmt: skip
        host.run(argv, deadline_s=600, on_line=log)

    return made(f"python-{component.name}", _dependencies_identity(component, root), install)


def _link(source: str, target: str) -> None:
    Path(target).hardlink_to(source)
