"""A changed line of code and its way into the cluster; and code that cannot run."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from cluster_up import state as states
from cluster_up.exec import Result
from functests.libs import build, commands, patience
from functests.libs.cluster import Cluster
from functests.libs.kube import Space
from functests.libs.rest import core_path
from functests.libs.stack import API, CONTROLLER, HANDLER, NAMESPACE, Stack
from functests.libs.witness import Witness

pytestmark = [pytest.mark.serial, pytest.mark.disruptive, pytest.mark.timeout(900)]

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"
_LARGEST_LAYER = 2 << 20


@pytest.fixture
def tree(cluster: Cluster, stack: Stack, tmp_path: Path) -> Iterator[Path]:
    """A copy of the source tree; afterwards the cluster has the real one's code again."""
    copy = tmp_path / "tree"
    copy.mkdir()
    for name in ("cluster_up", "virt"):
        shutil.copytree(commands.ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "requirements.lock"):
        shutil.copy(commands.ROOT / name, copy / name)
    first = _sync(cluster, commands.ROOT)
    assert first.code == 0, first.stderr
    yield copy
    last = _sync(cluster, commands.ROOT)
    assert last.code == 0, last.stderr


def _sync(cluster: Cluster, root: Path) -> Result:
    return commands.cluster_up("sync", "--name", cluster.name, root=root, deadline_s=400)


def _images(cluster: Cluster) -> dict[str, str]:
    state = states.read(cluster.name)
    assert state is not None
    return dict(state.component_images)


def _layers(reference: str) -> dict[str, int]:
    """Digest and size of an image's layers, as the registry tells them."""
    host, _, rest = reference.partition("/")
    name, _, tag = rest.partition(":")
    url = f"http://{host}/v2/{name}/manifests/{tag}"
    answer = urllib3.request("GET", url, headers={"Accept": _MANIFEST}, timeout=10)
    assert answer.status == 200, f"{reference}: {answer.status}"
    return {layer["digest"]: layer["size"] for layer in json.loads(answer.data)["layers"]}


def _log(stack: Stack, pod: str) -> str:
    return stack.rest.get(core_path("pods", NAMESPACE, pod) + "/log").text


@pytest.mark.demand(seconds=120)
@pytest.mark.case("DEV-005")
def test_a_changed_line_of_the_node_agent_is_one_small_layer(
    space: Space, cluster: Cluster, stack: Stack, tree: Path
) -> None:
    """
    Preconditions: a cluster that is up with the newest code; a running VM with a witness.
    Steps: let the node agent say one more line when it starts; sync; change it back; sync.
    Expected: within 60 s only its image is another one, by layers of 2 MiB at most; both nodes' agents say the line;
        the other components' pods are the same; the guest goes on and its console works; then the first reference.
    """
    _, shell = space.boot(build.vm_of(build.kernel_boot_vmi(cluster, "vm")))
    witness = Witness(shell)
    before = _images(cluster)
    others = {pod["metadata"]["uid"] for component in (API, CONTROLLER) for pod in stack.pods(component)}
    file = tree / "virt" / "cli" / "handler.py"
    said = f"a line of {space.name}"
    text = file.read_text()
    mark = "    return service.run("
    assert text.count(mark) == 1
    file.write_text(text.replace(mark, f"    print({said!r}, flush=True)\n{mark}"))

    done = _sync(cluster, tree)
    assert done.code == 0, done.stderr
    assert done.seconds <= 60 + patience.boots(1), f"sync took {done.seconds:.1f} s"
    after = _images(cluster)
    assert {name for name in before if after[name] != before[name]} == {HANDLER}, after
    new = {digest: size for digest, size in _layers(after[HANDLER]).items() if digest not in _layers(before[HANDLER])}
    assert new
    assert max(new.values()) <= _LARGEST_LAYER, new
    stack.wait_well()
    for node in cluster.workers:
        assert said in _log(stack, stack.handler(node)["metadata"]["name"]), node
    assert {pod["metadata"]["uid"] for component in (API, CONTROLLER) for pod in stack.pods(component)} == others
    witness.shell = space.shell("vm")
    witness.check()

    file.write_text(text)
    assert _sync(cluster, tree).code == 0
    assert _images(cluster) == before


@pytest.mark.demand(seconds=240)
@pytest.mark.case("DEV-007")
@pytest.mark.parametrize("component", [CONTROLLER, API])
def test_code_that_cannot_run_takes_nobodys_place(
    space: Space, cluster: Cluster, stack: Stack, tree: Path, component: str
) -> None:
    """
    Preconditions: a cluster that is up with the newest code.
    Steps: sync a tree whose component ends with an error at its start; start a VM; sync the sound tree.
    Expected: exit 1 within 120 s with the end of the component's log; its old pods still serve: the VM boots; then
        everything is available.
    """
    old = {pod["metadata"]["name"] for pod in stack.pods(component)}
    file = tree / "virt" / "cli" / f"{component.removeprefix('virt-')}.py"
    said = f"broken for {space.name}"
    file.write_text(f"raise SystemExit({said!r})\n")
    done = _sync(cluster, tree)
    assert done.code == 1, done.stderr
    assert done.seconds <= 120 + patience.boots(1), f"sync took {done.seconds:.1f} s"
    assert said in done.stderr, done.stderr
    assert component in done.stderr, done.stderr
    assert old <= {pod["metadata"]["name"] for pod in stack.pods(component)}
    _, shell = space.boot(build.vm_of(build.kernel_boot_vmi(cluster, "vm")))
    assert shell.succeed("echo $((6*7))") == "42"

    sound = _sync(cluster, commands.ROOT)
    assert sound.code == 0, sound.stderr
    stack.wait_well()
