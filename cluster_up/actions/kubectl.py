"""kubectl for the person, beside virtctl in the project's own .venv/bin: the nodes' own, so the versions fit."""

import sys
from pathlib import Path

from cluster_up import docker
from cluster_up.actions.step import Run, Step
from cluster_up.images.recipe import digest, is_made, made, place_of

_ON_NODE = "/usr/bin/kubectl"


def link() -> Path:
    """Where a person finds it. Part of the environment that `make` made, not of the system."""
    return Path(sys.executable).with_name("kubectl")


def _identity(run: Run) -> str:
    return digest(run.state.node_image, run.config.kubernetes_version)


def _is_done(run: Run) -> bool:
    identity = _identity(run)
    return is_made("kubectl", identity) and link().resolve() == place_of("kubectl", identity).resolve() / "kubectl"


def _perform(run: Run) -> None:
    node = next(view.name for view in run.provider.nodes() if view.role == "control-plane")
    place = made("kubectl", _identity(run), lambda part: _copy(node, part))
    fresh = link().with_name(".kubectl.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(place / "kubectl")
    fresh.rename(link())
    run.report.detail(f"kubectl is {link()}")


def _copy(node: str, folder: Path) -> None:
    docker.run("cp", "--follow-link", f"{node}:{_ON_NODE}", folder / "kubectl")


STEP = Step("kubectl", "kubectl", _is_done, _perform)
