"""AdmissionReviews as kube-apiserver sends and reads them."""

import base64
import json

from virt.api import admission, codec, jsonpatch, status, v1


def test_a_request_is_read() -> None:
    review = codec.decode(json.dumps({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "u", "operation": "UPDATE", "subResource": "", "dryRun": False, "options": {"kind": "UpdateOptions"},
            "kind": {"group": "kubevirt.io", "version": "v1", "kind": "VirtualMachine"},
            "userInfo": {"username": "me", "groups": ["a"], "extra": {"k": ["v"]}},
            "object": {"metadata": {"name": "new", "creationTimestamp": None}},
            "oldObject": {"metadata": {"name": "old"}},
        },
    }), admission.AdmissionReview)
    request = review.request
    assert request is not None
    assert request.user_info.extra == {"k": ("v",)}
    assert request.new(v1.VirtualMachine).metadata.name == "new"
    assert request.old(v1.VirtualMachine).metadata.name == "old"


def test_a_denial_carries_the_status() -> None:
    cause = status.StatusCause(reason=status.INVALID, message="no", field="spec.running")
    response = codec.to_json(admission.denied("u", status.invalid((cause,))))["response"]
    assert (response["uid"], response["allowed"], response["status"]["code"]) == ("u", False, 422)
    assert response["status"]["details"]["causes"] == [
        {"reason": "FieldValueInvalid", "message": "no", "field": "spec.running"},
    ]


def test_a_patch_is_base64_of_json() -> None:
    response = codec.to_json(admission.patched("u", [jsonpatch.add("/a", 1)]))["response"]
    assert json.loads(base64.b64decode(response["patch"])) == [{"op": "add", "path": "/a", "value": 1}]
    assert (response["patchType"], response["allowed"]) == ("JSONPatch", True)


def test_nothing_to_patch_is_just_allowed() -> None:
    assert codec.to_json(admission.patched("u", ()))["response"] == {"uid": "u", "allowed": True}
