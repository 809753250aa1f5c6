"""Component images: the same source gives the same name, and code is the last layer."""

from pathlib import Path

import grimp
import pytest

from cluster_up.images import components, programs, recipe
from cluster_up.images.node import choice, control_plane_names, published

LOCK = "".join(f"{name}==1.0\n" for one in components.COMPONENTS for name in one.base.requirements)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for folder in ("base", "controller", "launcher"):
        (tmp_path / "virt" / folder).mkdir(parents=True)
        (tmp_path / "virt" / folder / "main.py").write_text("print(1)\n")
    (tmp_path / "requirements.lock").write_text(LOCK)
    return tmp_path


def names(source: Path) -> dict[str, str]:
    return {one.name: components.name_of(one, source) for one in components.COMPONENTS}


def changed(source: Path, file: str, text: str) -> set[str]:
    """Names of the images that are others after ``file`` got ``text``."""
    before = names(source)
    (source / "virt" / file).write_text(text)
    after = names(source)
    return {name for name in before if before[name] != after[name]}


def test_a_changed_line_changes_the_images_it_is_in_and_changing_it_back_gives_the_first(source: Path) -> None:
    first = names(source)
    assert changed(source, "base/main.py", "print(2)\n") == set(first)
    assert changed(source, "base/main.py", "print(1)\n") == set(first)
    assert names(source) == first
    assert changed(source, "controller/main.py", "print(2)\n") == {"virt-controller"}
    assert changed(source, "launcher/main.py", "print(2)\n") == {"virt-launcher"}


def test_what_python_leaves_behind_does_not_change_the_name(source: Path) -> None:
    first = names(source)
    (source / "virt" / "base" / "__pycache__").mkdir()
    (source / "virt" / "base" / "__pycache__" / "main.cpython-311.pyc").write_bytes(b"x")
    assert names(source) == first


def test_an_image_has_what_its_daemon_imports_and_no_package_more() -> None:
    graph = grimp.build_graph("virt")
    for component in components.COMPONENTS:
        entry = f"virt.cli.{component.name.removeprefix('virt-')}"
        needed = {name.split(".")[1] for name in graph.find_upstream_modules(entry) if "." in name}
        there = {name for name in component.source if "." not in name}
        assert there == needed, component.name


def test_services_have_all_layers_in_common_but_their_own() -> None:
    lines = {
        one.name: [line for line in components.dockerfile("base:1", one).splitlines() if "helpers" not in line]
        for one in components.SERVICES
    }
    first = lines["virt-api"]
    for found in lines.values():
        assert found[:-1] == first[:-1]
    assert first.index("COPY shared/ /opt/virt/app/virt/") < first.index("COPY own/ /opt/virt/app/virt/")


def test_a_requirement_that_the_lock_lacks_is_an_error() -> None:
    with pytest.raises(KeyError):
        components.pinned(["no-such-package"], LOCK)


def test_the_lock_has_what_the_images_need() -> None:
    lock = (recipe.RECIPES.parents[2] / "requirements.lock").read_text()
    for component in components.COMPONENTS:
        assert len(components.pinned(component.base.requirements, lock)) == len(component.base.requirements)


def test_kinds_image_is_taken_only_where_a_registry_serves_it() -> None:
    version = programs.KUBERNETES_VERSIONS[0]
    assert choice(version, served=True) == published(version)
    assert choice(version, served=False) is None


def test_control_plane_images_are_found_by_their_last_element() -> None:
    names = control_plane_names("example.org/etcd:3.6\nexample.org/coredns/coredns:v1\n\n")
    assert names == {"etcd": "example.org/etcd:3.6", "coredns": "example.org/coredns/coredns:v1"}
