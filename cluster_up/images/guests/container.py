"""Images that hold a guest's files and nothing else, readable by the user that QEMU runs as."""

from collections.abc import Callable, Mapping
from pathlib import Path

from cluster_up import docker
from cluster_up.images import scratch

USER = 107                # QEMU's, in the launcher and in every disk container


def dockerfile(files: Mapping[str, str]) -> str:
    """``files`` maps a path in the image to the file's name in the build's context. One layer per file."""
    lines = [f"COPY --chown={USER}:{USER} {name} {target}" for target, name in sorted(files.items())]
    return "\n".join(["FROM scratch", *lines]) + "\n"


def build(tag: str, files: Mapping[str, Path], log: Callable[[str], None]) -> None:
    """The image ``tag`` on the engine, built now unless it is there.

    ``files`` maps a path in the image to the file that is put there.
    """
    if docker.has_image(tag):
        return
    with scratch.folder("guest-image") as context:
        names: dict[str, str] = {}
        for number, (target, source) in enumerate(sorted(files.items())):
            names[target] = str(number)
            (context / str(number)).hardlink_to(source)
        (context / "Dockerfile").write_text(dockerfile(names))
        docker.build(context, tag, log=log)
