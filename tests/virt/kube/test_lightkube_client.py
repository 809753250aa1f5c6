"""What the real client makes of names, without a server."""

import pytest
from lightkube.config.kubeconfig import KubeConfig

from virt.api import core
from virt.api.kinds import CONFIG_MAP, VMI
from virt.kube.client import DeleteOptions, MergePatch, NotFoundError
from virt.kube.lightkube_client import LightkubeClient

NOWHERE = {
    "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    "users": [{"name": "u", "user": {}}],
    "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
}


@pytest.mark.parametrize("name", [
    "../../../../../api/v1/namespaces/kube-system/secrets/s", "..", ".", "a/status", "a?watch=true", "a#b", "a%2fb",
    "a\nb",
])
async def test_a_name_that_no_object_can_have_leads_nowhere_else(name: str) -> None:
    """Preconditions: nobody listens, so that a request that is sent ends as ApiError 503."""
    single = KubeConfig.from_dict(NOWHERE).get()
    assert single is not None
    client = LightkubeClient(single)
    try:
        with pytest.raises(NotFoundError, match="no object can have this name"):
            await client.get(VMI, name, "ns")
        with pytest.raises(NotFoundError):
            await client.patch(CONFIG_MAP, name, MergePatch({}), namespace="ns")
        with pytest.raises(NotFoundError):
            await client.create(CONFIG_MAP, core.ConfigMap(), name)
        await client.delete(CONFIG_MAP, name, "ns", DeleteOptions())
    finally:
        await client.close()
