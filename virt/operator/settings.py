"""What the operator installs, in a ConfigMap beside it: variables that may change without a restart of the operator.

In the operator's own environment they would restart it whenever any component has a new image. The ConfigMap names the
operator that it was made for. Another operator that reads it does nothing: it is about to be replaced.
"""

from collections.abc import Mapping
from typing import Any

from virt.operator.target import Environment, Images, environment

CONFIG_MAP = "virt-operator-settings"
_OPERATOR, _LAUNCHER = "VIRT_OPERATOR_IMAGE", "VIRT_LAUNCHER_IMAGE"


def variables(images: Images, version: str) -> dict[str, str]:
    """The ConfigMap's data."""
    return {
        _OPERATOR: images.operator,
        "VIRT_API_IMAGE": images.api,
        "VIRT_CONTROLLER_IMAGE": images.controller,
        "VIRT_HANDLER_IMAGE": images.handler,
        _LAUNCHER: images.launcher,
        "KUBEVIRT_VERSION": version,
    }


def effective(own: Mapping[str, str], found: Mapping[str, Any] | None) -> Environment | None:
    """What to install, of the process's ``own`` variables and the ConfigMap; None when it is not ours to say.

    Without a ConfigMap everything may stand in the environment.
    """
    data = (found or {}).get("data") or {}
    together = {**own, **data}
    if together.get(_OPERATOR) != own.get(_OPERATOR) or not together.get(_LAUNCHER):
        return None
    return environment(together)
