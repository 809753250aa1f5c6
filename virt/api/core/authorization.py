"""SubjectAccessReview: the question whether somebody may do something, put to the API server.

https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/subject-access-review-v1/
"""

from collections.abc import Mapping

from virt.api.core.meta import ObjectMeta
from virt.api.wire import Wire, always


class ResourceAttributes(Wire):
    """``subresource`` may have several parts: ``vnc/screenshot``."""

    namespace: str = ""
    verb: str = ""
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""


class SubjectAccessReviewSpec(Wire):
    resource_attributes: ResourceAttributes | None = None
    user: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = {}
    uid: str = ""


class SubjectAccessReviewStatus(Wire):
    allowed: bool = False
    denied: bool = False
    reason: str = ""
    evaluation_error: str = ""


class SubjectAccessReview(Wire):
    api_version: str = always("authorization.k8s.io/v1")
    kind: str = always("SubjectAccessReview")
    metadata: ObjectMeta = always(ObjectMeta())
    spec: SubjectAccessReviewSpec = SubjectAccessReviewSpec()
    status: SubjectAccessReviewStatus = SubjectAccessReviewStatus()
