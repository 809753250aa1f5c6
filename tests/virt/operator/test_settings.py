"""Which settings an operator takes for its own."""

from virt.operator import settings
from virt.operator.target import Images

IMAGES = Images(operator="r/o:1", api="r/a:1", controller="r/c:1", handler="r/h:1", launcher="r/l:1")
OWN = {"VIRT_OPERATOR_IMAGE": "r/o:1", "KV_IO_EXTRA_ENV_A": "b"}
FOUND = {"data": settings.variables(IMAGES, "v1")}


def test_the_settings_made_for_this_operator_are_taken_with_its_own_environment() -> None:
    taken = settings.effective(OWN, FOUND)
    assert taken is not None
    assert (taken.images, taken.version, taken.passed_env) == (IMAGES, "v1", (("A", "b"),))


def test_those_made_for_another_operator_are_not() -> None:
    assert settings.effective({**OWN, "VIRT_OPERATOR_IMAGE": "r/o:0"}, FOUND) is None


def test_without_settings_everything_may_stand_in_the_environment() -> None:
    assert settings.effective(OWN, None) is None
    taken = settings.effective({**OWN, "VIRT_LAUNCHER_IMAGE": "r/l:2"}, None)
    assert taken is not None
    assert (taken.images.launcher, taken.images.api) == ("r/l:2", "r/o:1")
