import pytest

from virt.base.errors import SettingMissingError
from virt.cli.controller import settings


def test_settings() -> None:
    found = settings({"VIRT_LAUNCHER_IMAGE": "i", "POD_NAME": "p"})
    assert found == {"image": "i", "identity": "p", "namespace": "kubevirt"}
    with pytest.raises(SettingMissingError):
        settings({})
