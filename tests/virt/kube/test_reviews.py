"""What a webhook answers when its judge cannot say anything."""

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from virt.api import admission, codec, v1
from virt.api.admission import AdmissionRequest, AdmissionResponse, AdmissionReview
from virt.kube import reviews
from virt.kube.client import ApiError
from virt.kube.reviews import Judge


async def reads(request: AdmissionRequest) -> AdmissionReview:
    request.new(v1.KubeVirt)
    return admission.allowed(request.uid)


async def cannot_look(request: AdmissionRequest) -> AdmissionReview:
    raise ApiError(503, "ServiceUnavailable", "the API server is away")


async def answer(judge: Judge, new: object) -> AdmissionResponse:
    app = web.Application()
    app.router.add_post("/", reviews.endpoint(judge))
    review = {"request": {"uid": "u1", "name": "this", "object": new}}
    async with TestClient(TestServer(app)) as client, client.post("/", json=review) as response:
        assert response.status == 200
        found = codec.decode(await response.read(), AdmissionReview).response
    assert found is not None
    assert found.uid == "u1"
    return found


async def test_an_object_that_does_not_fit_is_denied_by_field() -> None:
    assert (await answer(reads, {"spec": {"infra": {"replicas": 2}}})).allowed
    response = await answer(reads, {"spec": {"infra": {"replicas": "two"}}})
    assert not response.allowed
    assert response.status is not None
    assert response.status.code == 422
    assert response.status.details is not None
    assert [cause.field for cause in response.status.details.causes] == ["spec.infra.replicas"]


async def test_what_cannot_be_judged_is_denied_and_says_why() -> None:
    response = await answer(cannot_look, {})
    assert not response.allowed
    assert response.status is not None
    assert (response.status.code, response.status.message) == (500, "cannot judge 'this' now: the API server is away")
