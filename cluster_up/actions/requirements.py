"""Programs that the other steps start, and limits that nodes exceed. Says what it will change before it does."""

import os
import shutil

from cluster_up import exec as host
from cluster_up import limits
from cluster_up.actions.step import Run, Step
from cluster_up.errors import StepFailed
from cluster_up.images import golang

# Program -> Debian package that has it.
PROGRAMS = {
    "docker": "docker.io",
    "dockerd": "docker.io",
    "mmdebstrap": "mmdebstrap",
    "gcc": "gcc libc6-dev",
    "curl": "curl",
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "mcopy": "mtools",
    "mkfs.vfat": "dosfstools",
    "syslinux": "syslinux",
    "readelf": "binutils",
    "iptables": "iptables",
    "nft": "nftables",
    "git": "git",
    "zstd": "zstd",
}


def missing() -> list[str]:
    return [program for program in PROGRAMS if host.found(program) is None]


def packages_of(programs: list[str]) -> list[str]:
    """Debian packages with these programs, each once, in order.

    >>> packages_of(["dockerd", "docker", "gcc"])
    ['docker.io', 'gcc', 'libc6-dev']
    """
    return list(dict.fromkeys(package for program in programs for package in PROGRAMS[program].split()))


def _is_done(run: Run) -> bool:
    return not missing() and golang.present() is not None and not limits.too_low(limits.current())


def _perform(run: Run) -> None:
    if golang.present() is None:
        run.report.line(f"  will fetch the Go toolchain {golang.VERSION} into the cache: nodes' programs are compiled")
        golang.fetch(run.report.detail)
    if packages := packages_of(missing()):
        _install(run, packages)
    if low := limits.too_low(limits.current()):
        if not limits.can_raise():
            raise StepFailed(f"kernel limits are too low for nodes: {low}", hint=f"as root: {limits.command(low)}")
        run.report.line(f"  raising limits of the kernel: {limits.command(low)}")
        limits.raise_to(low)


def _install(run: Run, packages: list[str]) -> None:
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise StepFailed(
            f"programs are missing: {', '.join(missing())}", hint=f"install the packages {' '.join(packages)} as root"
        )
    run.report.line(f"  will install with apt-get: {' '.join(packages)}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    # The machine's own upgrades hold dpkg's lock for a while after it has started.
    apt = ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=600", "-o", "Acquire::Retries=5"]
    host.run([*apt, "update"], deadline_s=600, env=quiet, on_line=run.report.detail)
    argv = [*apt, "install", "-y", "--no-install-recommends", *packages]
    host.run(argv, deadline_s=1800, env=quiet, on_line=run.report.detail)


STEP = Step("requirements", "programs and limits of this machine", _is_done, _perform)
