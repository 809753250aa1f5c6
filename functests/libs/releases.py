"""Another release of the product, as an update sees one: the same images under another tag."""

import urllib3

from functests.libs.cluster import Cluster

_MANIFESTS = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"


def tagged(cluster: Cluster, tag: str) -> None:
    """All components' images get this tag beside their own."""
    for reference in cluster.component_images.values():
        host, _, name = reference.partition("/")
        repository, _, own = name.rpartition(":")
        url = f"http://{host}/v2/{repository}/manifests"
        found = urllib3.request("GET", f"{url}/{own}", headers={"Accept": _MANIFESTS}, timeout=10)
        assert found.status == 200, f"{reference}: {found.status}"
        kind = found.headers["Content-Type"]
        put = urllib3.request("PUT", f"{url}/{tag}", body=found.data, headers={"Content-Type": kind}, timeout=30)
        assert put.status == 201, f"{reference} as {tag}: {put.status} {put.data[:200]!r}"
