"""Images of the operator, controller, API, handler (one) and of the launcher (another), built and pushed when changed."""

from cluster_up import paths
from cluster_up.actions.step import Run, Step
from cluster_up.images import components
from cluster_up import docker


def _references(run: Run) -> dict[str, str]:
    registry = f"localhost:{run.state.registry_port}"
    return {one.name: components.reference(one, registry, paths.source_root()) for one in components.COMPONENTS}


def _is_done(run: Run) -> bool:
    return dict(run.state.component_images) == _references(run)


def _perform(run: Run) -> None:
    registry = f"localhost:{run.state.registry_port}"
    done = dict(run.state.component_images)
    for component in components.COMPONENTS:
        wanted = components.reference(component, registry, paths.source_root())
        if done.get(component.name) == wanted:
            continue
        reference = components.build(component, registry, paths.source_root(), run.report.detail)
        run.report.detail(f"pushing {reference}")
        docker.push(reference)
        done[component.name] = reference
        run.remember(component_images=dict(done))


STEP = Step("component-images", "images of the components", _is_done, _perform)
