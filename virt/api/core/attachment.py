"""Secondary networks, as the Network Plumbing Working Group defines them (k8s.cni.cncf.io/v1)."""

import json
from collections.abc import Mapping
from typing import Any, Final

from virt.api.core.meta import ObjectMeta
from virt.api.wire import Wire, always

RESOURCE_ANNOTATION: Final = "k8s.v1.cni.cncf.io/resourceName"        # the devices that a pod in the network takes


class NetworkAttachmentDefinitionSpec(Wire):
    """``config``: CNI configuration as JSON text."""

    config: str = ""


class NetworkAttachmentDefinition(Wire):
    api_version: str = always("k8s.cni.cncf.io/v1")
    kind: str = always("NetworkAttachmentDefinition")
    metadata: ObjectMeta = ObjectMeta()
    spec: NetworkAttachmentDefinitionSpec = NetworkAttachmentDefinitionSpec()

    @property
    def resource(self) -> str:
        """The resource whose devices belong to the network, "" for none."""
        return self.metadata.annotations.get(RESOURCE_ANNOTATION, "")

    @property
    def called(self) -> str:
        """How people call it in messages."""
        return f"network attachment definition {self.metadata.namespace}/{self.metadata.name}"

    def plugins(self) -> tuple[Mapping[str, Any], ...]:
        """The plugins of the configuration in their order, whether it is one or a list (CNI specification 1.0, section
        1). Raises ValueError for what is no JSON."""
        try:
            document = json.loads(self.spec.config)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error
        listed = document.get("plugins", [document]) if isinstance(document, dict) else []
        return tuple(each for each in listed if isinstance(each, dict)) if isinstance(listed, list) else ()
