"""Component images: the same source gives the same name, and code is the last layer."""

from pathlib import Path

import pytest

from cluster_up.images import components, programs, recipe
from cluster_up.images.node import choice, control_plane_names, published

LOCK = "".join(f"{name}==1.0\n" for one in components.COMPONENTS for name in one.requirements)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for folder in ("base", "controller", "launcher"):
        (tmp_path / "virt" / folder).mkdir(parents=True)
        (tmp_path / "virt" / folder / "main.py").write_text("print(1)\n")
    (tmp_path / "requirements.lock").write_text(LOCK)
    return tmp_path


def test_a_changed_line_changes_the_name_and_changing_it_back_gives_the_first(source: Path) -> None:
    first = components.name_of(components.VIRT, source)
    (source / "virt" / "base" / "main.py").write_text("print(2)\n")
    assert components.name_of(components.VIRT, source) != first
    (source / "virt" / "base" / "main.py").write_text("print(1)\n")
    assert components.name_of(components.VIRT, source) == first


def test_what_python_leaves_behind_does_not_change_the_name(source: Path) -> None:
    first = components.name_of(components.VIRT, source)
    (source / "virt" / "base" / "__pycache__").mkdir()
    (source / "virt" / "base" / "__pycache__" / "main.cpython-311.pyc").write_bytes(b"x")
    assert components.name_of(components.VIRT, source) == first


def test_a_change_of_one_component_leaves_the_other_image_alone(source: Path) -> None:
    before = [components.name_of(one, source) for one in components.COMPONENTS]
    (source / "virt" / "controller" / "main.py").write_text("print(2)\n")
    after = [components.name_of(one, source) for one in components.COMPONENTS]
    assert (before[0] != after[0], before[1] != after[1]) == (True, False)
    (source / "virt" / "launcher" / "main.py").write_text("print(2)\n")
    assert components.name_of(components.VIRT, source) == after[0]
    assert components.name_of(components.LAUNCHER, source) != after[1]


def test_every_package_of_virt_is_in_an_image() -> None:
    root = recipe.RECIPES.parents[2]
    here = {path.name for path in (root / "virt").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert here <= {name.partition("/")[0] for one in components.COMPONENTS for name in one.source}


def test_code_comes_after_dependencies_so_that_a_change_is_a_small_layer() -> None:
    lines = components.dockerfile("base:1", with_stubs=True).splitlines()
    order = [lines.index(line) for line in ("COPY deps/ /opt/virt/deps/", "COPY virt/ /opt/virt/app/virt/")]
    assert order == sorted(order)


def test_a_requirement_that_the_lock_lacks_is_an_error() -> None:
    with pytest.raises(KeyError):
        components.pinned(["no-such-package"], LOCK)


def test_the_lock_has_what_the_images_need() -> None:
    lock = (recipe.RECIPES.parents[2] / "requirements.lock").read_text()
    for component in components.COMPONENTS:
        assert len(components.pinned(component.requirements, lock)) == len(component.requirements)


def test_kinds_image_is_taken_only_where_a_registry_serves_it() -> None:
    version = programs.KUBERNETES_VERSIONS[0]
    assert choice(version, served=True) == published(version)
    assert choice(version, served=False) is None


def test_control_plane_images_are_found_by_their_last_element() -> None:
    names = control_plane_names("example.org/etcd:3.6\nexample.org/coredns/coredns:v1\n\n")
    assert names == {"etcd": "example.org/etcd:3.6", "coredns": "example.org/coredns/coredns:v1"}
