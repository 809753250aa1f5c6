"""What an admission function of virt-api is given, and the patch that it may answer.

It takes the request and says yes, no or how to change the object; it is awaited, since some rules need other objects.
Objects that do not fit their type are the validators' business: there the answer names the field.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from virt.api import admission, codec, jsonpatch, names
from virt.api.admission import AdmissionRequest, AdmissionReview
from virt.api.clusterconfig import ClusterConfig
from virt.base.clock import Clock
from virt.kube.client import Client


@dataclass(frozen=True)
class Context:
    """What admission knows beside the request. ``config``: the one in force now. ``new_uuid`` gives random UUIDs."""

    client: Client
    namespace: str
    config: Callable[[], ClusterConfig]
    clock: Clock
    new_uuid: Callable[[], str]

    def is_component(self, request: AdmissionRequest) -> bool:
        """Whether one of our own service accounts asks."""
        return request.user_info.username in names.component_accounts(self.namespace)


Admit = Callable[[AdmissionRequest, Context], Awaitable[AdmissionReview]]


def changed(request: AdmissionRequest, old: Any, new: Any) -> AdmissionReview:
    """The patch that makes the request's object, read as ``old``, into ``new``; fields unknown to the type survive."""
    return admission.patched(request.uid, jsonpatch.difference(codec.to_json(old), codec.to_json(new)))
