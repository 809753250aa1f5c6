"""Storage classes ``local`` (a folder of the node) and ``shared`` (ReadWriteMany: one folder in every node)."""

from functools import partial

import yaml

from cluster_up.actions.step import Run, Step
from cluster_up.images import programs, storage, store
from cluster_up.images.recipe import RECIPES, digest
from cluster_up.providers.kind import SHARED_ON_NODE

_MANIFEST = RECIPES / "storage" / "local-path.yaml"


def _identity(run: Run) -> str:
    return digest(_MANIFEST.read_bytes(), programs.LOCAL_PATH.identity(), str(run.state.registry_port))


def _is_done(run: Run) -> bool:
    return run.state.applied.get("storage") == _identity(run)


def _perform(run: Run) -> None:
    text = _MANIFEST.read_text().replace("@SHARED@", SHARED_ON_NODE)
    for mark, image, build in (
        ("@PROVISIONER@", storage.provisioner_name(), storage.provisioner),
        ("@HELPER@", storage.helper_name(), storage.helper),
    ):
        reference = store.ensure(image, run.state.registry, partial(build, run.report.detail), run.report.detail)
        text = text.replace(mark, reference)
    run.kube.apply(yaml.safe_load_all(text))
    run.learn(shared=True)
    run.mark_applied("storage", _identity(run))


STEP = Step("storage", "storage classes", _is_done, _perform)
