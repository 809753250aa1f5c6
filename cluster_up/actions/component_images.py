"""Images of the stack, one per component. Only what changed is built and pushed."""

from functools import partial

from cluster_up import paths
from cluster_up.actions.step import Run, Step
from cluster_up.images import components, store


def _references(run: Run) -> dict[str, str]:
    root = paths.source_root()
    return {one.name: f"{run.state.registry}/{components.name_of(one, root)}" for one in components.COMPONENTS}


def _is_done(run: Run) -> bool:
    references = _references(run)
    if dict(run.state.component_images) != references:
        return False
    return not any(store.faults(reference.partition("/")[2]) for reference in references.values())


def _perform(run: Run) -> None:
    root, log = paths.source_root(), run.report.detail
    references: dict[str, str] = {}
    for component in components.COMPONENTS:
        name = components.name_of(component, root)
        build = partial(components.build, component, root, log)
        references[component.name] = store.ensure(name, run.state.registry, build, log)
    run.remember(component_images=references)


STEP = Step("component-images", "images of the components", _is_done, _perform)
