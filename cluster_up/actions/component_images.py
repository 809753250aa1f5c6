"""Images of the stack: one of operator, controller, API and handler, one of the launcher. Pushed when changed."""

from cluster_up import docker, paths
from cluster_up.actions.step import Run, Step
from cluster_up.images import components, registry


def _references(run: Run) -> dict[str, str]:
    host, root = f"localhost:{run.state.registry_port}", paths.source_root()
    return {one.name: f"{host}/{components.name_of(one, root)}" for one in components.COMPONENTS}


def _is_done(run: Run) -> bool:
    return dict(run.state.component_images) == _references(run)


def _perform(run: Run) -> None:
    for component in components.COMPONENTS:
        reference = _references(run)[component.name]
        if run.state.component_images.get(component.name) == reference:
            continue
        if not registry.has(run.state.registry_port, components.name_of(component, paths.source_root())):
            image = components.build(component, paths.source_root(), run.report.detail)
            run.report.detail(f"pushing {reference}")
            docker.push(image, reference)
        run.remember(component_images={**run.state.component_images, component.name: reference})


STEP = Step("component-images", "images of the components", _is_done, _perform)
