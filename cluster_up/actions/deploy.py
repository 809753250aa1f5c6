"""The operator and the KubeVirt object. Everything else of the stack is the operator's work.

Manifests come from the source tree (`python -m virt.cli.manifests`), so cluster_up knows no object of the stack.
"""

import sys

import yaml

from cluster_up import exec as host
from cluster_up import kvm, paths
from cluster_up.actions.step import Run, Step
from cluster_up.images import components
from cluster_up.images.recipe import digest
from cluster_up.machines.joining import TAINT

_CPU_MODEL = "Nehalem"         # under emulation a plain model starts fastest; every QEMU has it


def _manifest(*words: str) -> str:
    argv = [sys.executable, "-m", "virt.cli.manifests", *words]
    return host.run(argv, deadline_s=60, cwd=paths.source_root()).stdout


def version(images: dict[str, str]) -> str:
    """What the operator reports as its version: changes with the images, so that a change is rolled out."""
    return f"v0.1.0-{digest(*sorted(images.values()))[:8]}"


def _identity(run: Run) -> str:
    return digest(*sorted(run.state.component_images.values()), str(run.state.capabilities.kvm), *_tolerated(run))


def _tolerated(run: Run) -> list[str]:
    """Machines have a taint: only what asks for them lands there, and the node agent has to."""
    return ["--tolerate", TAINT] if run.state.machines else []


def _is_done(run: Run) -> bool:
    return run.state.applied.get("deploy") == _identity(run)


def _perform(run: Run) -> None:
    images = dict(run.state.component_images)
    run.report.detail("does a guest boot on /dev/kvm?")
    run.learn(kvm=kvm.is_usable())
    operator = _manifest(
        "operator", "--version", version(images), "--image", images[components.OPERATOR.name],
        "--api-image", images[components.API.name], "--controller-image", images[components.CONTROLLER.name],
        "--handler-image", images[components.HANDLER.name], "--launcher-image", images[components.LAUNCHER.name],
    )  # fmt: skip
    emulation = [] if run.state.capabilities.kvm else ["--emulation", "--cpu-model", _CPU_MODEL]
    run.kube.apply(document for document in yaml.safe_load_all(operator) if document)
    kubevirt = _manifest("cr", *emulation, *_tolerated(run))
    run.kube.apply(document for document in yaml.safe_load_all(kubevirt) if document)
    run.mark_applied("deploy", _identity(run))


STEP = Step("deploy", "operator and KubeVirt object", _is_done, _perform)
