"""AdmissionReview: what kube-apiserver asks a webhook, and the answers.

https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
"""

import base64
from collections.abc import Mapping, Sequence
from typing import TypeVar

from virt.api import codec
from virt.api.jsonpatch import Operation
from virt.api.status import Status, StatusCause, invalid
from virt.api.wire import JsonObject, Wire, always

T = TypeVar("T")


class GroupVersionKind(Wire):
    group: str = ""
    version: str = ""
    kind: str = ""


class GroupVersionResource(Wire):
    group: str = ""
    version: str = ""
    resource: str = ""


class UserInfo(Wire):
    """Who asks. ``username`` of a service account: ``virt.api.names.account``."""

    username: str = ""
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = {}


class AdmissionRequest(Wire):
    """``operation``: CREATE, UPDATE, DELETE, CONNECT. ``object`` is missing on DELETE, ``old_object`` on CREATE."""

    uid: str = ""
    kind: GroupVersionKind = GroupVersionKind()
    resource: GroupVersionResource = GroupVersionResource()
    sub_resource: str = ""
    name: str = ""
    namespace: str = ""
    operation: str = ""
    user_info: UserInfo = UserInfo()
    object: JsonObject | None = None
    old_object: JsonObject | None = None
    dry_run: bool | None = None

    def new(self, type_: type[T]) -> T:
        """The object as it would be stored. Raises msgspec.ValidationError."""
        return codec.from_json(self.object or {}, type_)

    def old(self, type_: type[T]) -> T:
        """The object as it is stored. Raises msgspec.ValidationError."""
        return codec.from_json(self.old_object or {}, type_)


class AdmissionResponse(Wire):
    """``patch``: base64 of a JSON patch."""

    uid: str = always("")
    allowed: bool = always(False)
    status: Status | None = None
    patch: str = ""
    patch_type: str = ""
    warnings: tuple[str, ...] = ()


class AdmissionReview(Wire):
    api_version: str = always("admission.k8s.io/v1")
    kind: str = always("AdmissionReview")
    request: AdmissionRequest | None = None
    response: AdmissionResponse | None = None


def allowed(uid: str, warnings: Sequence[str] = ()) -> AdmissionReview:
    return AdmissionReview(response=AdmissionResponse(uid=uid, allowed=True, warnings=tuple(warnings)))


def denied(uid: str, status: Status) -> AdmissionReview:
    """kube-apiserver passes ``status`` on: its code, reason and causes, with the webhook's name before its message."""
    return AdmissionReview(response=AdmissionResponse(uid=uid, status=status))


def judged(uid: str, causes: Sequence[StatusCause], warnings: Sequence[str] = ()) -> AdmissionReview:
    """Denied with the causes, allowed without any."""
    return denied(uid, invalid(causes)) if causes else allowed(uid, warnings)


def patched(uid: str, operations: Sequence[Operation]) -> AdmissionReview:
    """Allowed, with changes; without any when there are no operations."""
    if not operations:
        return allowed(uid)
    patch = base64.b64encode(codec.encode(list(operations))).decode("ascii")
    return AdmissionReview(response=AdmissionResponse(uid=uid, allowed=True, patch=patch, patch_type="JSONPatch"))
