"""What the KubeVirt object says of all machines reaches the next guest, and no guest that runs."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from functests.libs import build, claims, hardware, patience
from functests.libs.claims import Claim
from functests.libs.cluster import Cluster
from functests.libs.console import Console
from functests.libs.kube import Space
from functests.libs.rest import Rest

KUBEVIRTS = "/apis/kubevirt.io/v1/namespaces/kubevirt/kubevirts"
MODEL_LABEL = "cpu-model.node.kubevirt.io/"
# Models that are neither the cluster's nor the default; what the first calls itself.
MODEL, NAME, OTHER = "Penryn", "Intel Core 2 Duo P9xxx (Penryn Class Core 2)", "Westmere"
DEFAULT = {"sys_vendor": "KubeVirt", "product_name": "None", "product_family": "KubeVirt"}
SMBIOS = {"manufacturer": "Acme", "product": "Anvil", "family": "Tools & more"}
CHASSIS = {"manufacturer": "Coyote", "serial": "chassis-17", "asset": "shelf 4"}

Change = Callable[[Mapping[str, Any]], None]


@pytest.fixture
def configuration(admin: Rest) -> Iterator[Change]:
    """Sets fields of spec.configuration; afterwards they are as they were. For tests that have the cluster alone."""
    (kubevirt,) = admin.get(KUBEVIRTS).ok()["items"]
    path = f"{KUBEVIRTS}/{kubevirt['metadata']['name']}"
    before = kubevirt["spec"].get("configuration", {})
    changed: dict[str, Any] = {}

    def change(fields: Mapping[str, Any]) -> None:
        changed.update({name: before.get(name) for name in fields})
        admin.patch(path, {"spec": {"configuration": dict(fields)}}).ok()

    yield change
    admin.patch(path, {"spec": {"configuration": changed}}).ok()


def _model(space: Space, vmi: build.Manifest) -> str:
    """The processor model that admission gives it now."""
    return str(space.try_create(vmi, dry_run=True).ok()["spec"]["domain"]["cpu"]["model"])


def _dmi(shell: Console, names: Mapping[str, str]) -> dict[str, str]:
    return {name: hardware.dmi(shell, name) for name in names}


@pytest.mark.serial
@pytest.mark.demand(vcpus=2, memory_mib=800, boots=2)
@pytest.mark.case("BOOT-022")
@pytest.mark.case("BOOT-033")
def test_settings_of_the_cluster_reach_the_next_guest(
    space: Space, cluster: Cluster, configuration: Change
) -> None:
    """
    Preconditions: a running guest whose VMI names a chassis; a cluster with its usual SMBIOS.
    Steps: give the cluster other SMBIOS texts and a processor model; boot another guest; ask for one that names its own
        model; take the cluster's model away again.
    Expected: the first guest shows KubeVirt, None, KubeVirt and its chassis, before and after; the second one shows the
        cluster's texts and model, and its pod selects by it; an own model is kept; without the cluster's it is
        host-model.
    """
    plain = build.kernel_boot_vmi(cluster, "first")
    _, first = space.boot(build.merged(plain, {"spec": {"domain": {"chassis": CHASSIS}}}))
    chassis = {"chassis_vendor": CHASSIS["manufacturer"], "chassis_serial": CHASSIS["serial"],
               "chassis_asset_tag": CHASSIS["asset"]}  # fmt: skip
    usual = {**DEFAULT, **chassis}
    assert _dmi(first, usual) == usual

    configuration({"smbios": SMBIOS, "cpuModel": MODEL})
    second = build.kernel_boot_vmi(cluster, "second")
    patience.eventually("admission knows the model", lambda: _model(space, second), lambda model: model == MODEL)
    vmi, shell = space.boot(second)
    texts = dict(zip(DEFAULT, (SMBIOS["manufacturer"], SMBIOS["product"], SMBIOS["family"]), strict=True))
    own = build.merged(second, {"metadata": {"name": "own"}, "spec": {"domain": {"cpu": {"model": OTHER}}}})
    found: list[Claim] = [
        ("texts of the second guest", _dmi(shell, texts), texts),
        ("its processor", hardware.cpu_field(shell, "model name"), NAME),
        ("its VMI's model", vmi["spec"]["domain"]["cpu"]["model"], MODEL),
        ("its pod's selector", space.pod(vmi)["spec"]["nodeSelector"].get(MODEL_LABEL + MODEL), "true"),
        ("a model of one's own", _model(space, own), OTHER),
        ("texts of the first guest", _dmi(first, usual), usual),
    ]
    assert claims.wrong(found) == ""

    configuration({"cpuModel": None})
    unset = build.merged(second, {"metadata": {"name": "unset"}})
    assert patience.eventually(
        "admission has no model of the cluster's", lambda: _model(space, unset), lambda model: model == "host-model"
    ) == "host-model"  # fmt: skip
