"""Secondary networks, as the Network Plumbing Working Group defines them (k8s.cni.cncf.io/v1)."""

from typing import Final

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
