import pytest

from virt.api.names import hostname


@pytest.mark.parametrize(("name", "asked", "expected"), [
    ("vm", "", "vm"), ("vm.a.b", "", "vm"), ("vm", "given", "given"), ("x" * 62 + "-y", "", "x" * 62),
    ("h" * 70, "", "h" * 63),
])
def test_guest_and_pod_have_one_host_name(name: str, asked: str, expected: str) -> None:
    assert hostname(name, asked) == expected
