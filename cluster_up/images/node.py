"""The image of a node: kind's own where a registry serves it, else built here from Debian packages and Go modules.

Built in parts, each cached by its recipe: the root file system, every program, one image per thing the control plane
runs, the base of the node, the node. The last two are images on the engine, tagged by the hash of all that is in them.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

from cluster_up import docker
from cluster_up import exec as host
from cluster_up.exec import Log
from cluster_up.images import debian, programs, scratch
from cluster_up.images.recipe import RECIPES, content, digest

_VERSION = "1"                         # raise it when this module makes something else from the same recipe files
_SUITE = "bookworm"
_PACKAGES = (
    "bash", "busybox-static", "ca-certificates", "conntrack", "containerd", "containernetworking-plugins", "curl",
    "e2fsprogs", "ethtool", "iproute2", "iptables", "jq", "kmod", "libseccomp2", "mount", "nftables", "pigz", "procps",
    "runc", "socat", "systemd", "systemd-sysv", "util-linux", "xfsprogs",
)  # fmt: skip
_PROXY_PACKAGES = ("conntrack", "iptables", "kmod", "nftables")     # what kube-proxy starts
_KIND_MODULE = f"sigs.k8s.io/kind@v{programs.KIND_VERSION}"
_PROBE_S = 6.0
BUILD_PREFIX = "virt-node-build-"      # containers in which a node is made


def choice(version: str, served: bool) -> str | None:
    """kind's own image when a registry serves it; None means that the image is built here."""
    return published(version) if served else None


def published(version: str) -> str:
    return f"kindest/node:v{version}"


def is_served(version: str) -> bool:
    """Whether the engine can pull kind's image (or has it). Asks the registry, which gets a few seconds."""
    reference = published(version)
    if docker.has_image(reference):
        return True
    argv = ["docker", "manifest", "inspect", reference]
    try:
        return host.run(argv, deadline_s=_PROBE_S, check=False).code == 0
    except host.RunError:
        return False


def identity(version: str) -> str:
    built = (programs.KUBERNETES, programs.ETCD, programs.COREDNS)
    return digest(
        _VERSION, version, _KIND_MODULE, debian.identity(_SUITE, _PACKAGES, "minbase"),
        debian.identity(_SUITE, _PROXY_PACKAGES, "extract"),
        *(program.identity() for program in built), *content(RECIPES / "node"),
    )  # fmt: skip


def reference(version: str) -> str:
    """Tag of the image that is built here."""
    return f"virt-node:v{version}-{identity(version)}"


def build(version: str, log: Log) -> str:
    """The image's reference, built now unless the engine has it. About a minute when its parts are cached."""
    tag = reference(version)
    if docker.has_image(tag):
        return tag
    kubernetes = programs.folder(programs.KUBERNETES, log)
    names = control_plane_names(
        host.run(
            [kubernetes / "kubeadm", "config", "images", "list", "--kubernetes-version", f"v{version}"], deadline_s=60
        ).stdout
    )
    with scratch.folder("node") as place:
        base = _base(place, version, names["pause"], kubernetes, log)
        archive = _control_plane(place, names, kubernetes, log)
        log("putting the control plane's images into the node")
        _import(place, base, archive, tag)
    return tag


def control_plane_names(listing: str) -> Mapping[str, str]:
    """References that kubeadm will ask for, by last path element without the tag.

    >>> control_plane_names("example.org/a/pause:3.10.1")["pause"]
    'example.org/a/pause:3.10.1'
    """
    references = [line.strip() for line in listing.splitlines() if ":" in line]
    return {reference.rpartition("/")[2].partition(":")[0]: reference for reference in references}


def _base(place: Path, version: str, pause: str, kubernetes: Path, log: Log) -> str:
    root = debian.base_image("node", _SUITE, _PACKAGES, log=log)
    context = place / "base"
    shutil.copytree(programs.module_source(_KIND_MODULE) / "images" / "base" / "files", context / "kind-files")
    host.run(["chmod", "-R", "u+w", context], deadline_s=180)          # Go's module cache is read-only
    shutil.copytree(RECIPES / "node" / "files", context / "files")
    (context / "bin").mkdir()
    for program in ("kubeadm", "kubelet", "kubectl"):
        _link(kubernetes / program, context / "bin" / program)
    shutil.copy(RECIPES / "node" / "setup.sh", context)
    (context / "Dockerfile").write_text(f"""FROM {root}
COPY bin/ /usr/bin/
COPY kind-files/usr/ /usr/
COPY kind-files/kind/ /kind/
COPY kind-files/etc/ /etc/
COPY files/ /
COPY setup.sh /setup.sh
RUN PAUSE_IMAGE={pause} VERSION={version} sh -eu /setup.sh && rm /setup.sh
ENV container=docker
STOPSIGNAL SIGRTMIN+3
ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]
""")
    tag = f"virt-node-base:{identity(version)}"
    log("building the node's base")
    docker.build(context, tag, log=log)
    return tag


def _control_plane(place: Path, names: Mapping[str, str], kubernetes: Path, log: Log) -> Path:
    """An archive of the images that kubeadm starts, under the names it uses."""
    log("building the control plane's images")
    pause = place / "pause-bin"
    host.run(["gcc", "-static", "-Os", "-s", "-o", pause, RECIPES / "node" / "pause.c"], deadline_s=60)
    main = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
    etcd, coredns = programs.folder(programs.ETCD, log), programs.folder(programs.COREDNS, log)
    proxy_root = debian.base_image("proxy", _SUITE, _PROXY_PACKAGES, log=log, variant="extract")
    # One image with four names holds the control plane: a node keeps one copy of what they share, which is all.
    all_in_one = {f"/usr/local/bin/{name}": kubernetes / name for name in main} | {"/usr/local/bin/etcd": etcd / "etcd"}
    recipes: list[tuple[str, dict[str, Path], list[str], list[str]]] = [
        ("scratch", {"/pause": pause}, ['ENTRYPOINT ["/pause"]'], ["pause"]),
        ("scratch", all_in_one, ["ENV PATH=/usr/local/bin"], [*main, "etcd"]),
        (proxy_root, {"/usr/local/bin/kube-proxy": kubernetes / "kube-proxy"}, [], ["kube-proxy"]),
        ("scratch", {"/coredns": coredns / "coredns"}, ['ENTRYPOINT ["/coredns"]'], ["coredns"]),
    ]
    for base, files, more, used_as in recipes:
        first, *others = (names[name] for name in used_as)
        _file_image(place / used_as[0], base, files, more, first, log)
        for other in others:
            docker.run("tag", first, other)
    archive = place / "build" / "images.tar"
    archive.parent.mkdir()
    docker.run("save", "--output", archive, *(names[n] for r in recipes for n in r[3]), deadline_s=600)
    return archive


def _file_image(context: Path, base: str, files: Mapping[str, Path], more: list[str], tag: str, log: Log) -> None:
    """An image of a few files on a base."""
    context.mkdir()
    lines = [f"FROM {base}"]
    for number, (target, source) in enumerate(files.items()):
        _link(source, context / str(number))
        lines.append(f"COPY {number} {target}")
    (context / "Dockerfile").write_text("\n".join([*lines, *more]) + "\n")
    docker.build(context, tag, log=log)


def _import(place: Path, base: str, archive: Path, tag: str) -> None:
    """A node image is its base after containerd imported the archive in it."""
    shutil.copy(RECIPES / "node" / "import.sh", archive.parent)
    name = BUILD_PREFIX + place.name
    try:
        docker.run(
            "run", "--name", name, "--privileged", "--volume", f"{archive.parent}:/build:ro",
            "--entrypoint", "sh", base, "-eu", "/build/import.sh", deadline_s=600,
        )  # fmt: skip
        # Entry point and command of that container were the import's.
        changes = ['ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]', "CMD []"]
        docker.run("commit", *(w for c in changes for w in ("--change", c)), name, tag, deadline_s=600)
    finally:
        docker.run("rm", "--force", "--volumes", name)


def _link(source: Path, target: Path) -> None:
    """Hard links: contexts of hundreds of MB are made without a copy when they are on the cache's file system."""
    target.hardlink_to(source)
