"""What the KubeVirt object says of all machines reaches the next guest, and no guest that runs."""

from collections.abc import Mapping

import pytest

from functests.libs import build, claims, hardware, patience, settings
from functests.libs.claims import Claim
from functests.libs.cluster import Cluster
from functests.libs.console import Console
from functests.libs.kube import Space

MODEL_LABEL = "cpu-model.node.kubevirt.io/"
# Models that are neither the cluster's nor the default; what the first calls itself.
MODEL, NAME, OTHER = "Penryn", "Intel Core 2 Duo P9xxx (Penryn Class Core 2)", "Westmere"
DEFAULT = {"sys_vendor": "KubeVirt", "product_name": "None", "product_family": "KubeVirt"}
SMBIOS = {"manufacturer": "Acme", "product": "Anvil", "family": "Tools & more", "version": "7.1", "sku": "AN-71"}
SHOWN_AS = {"manufacturer": "sys_vendor", "product": "product_name", "family": "product_family",
            "version": "product_version", "sku": "product_sku"}  # fmt: skip
CHASSIS = {"manufacturer": "Coyote", "serial": "chassis-17", "asset": "shelf 4"}

def _model(space: Space, vmi: build.Manifest) -> str:
    """The processor model that admission gives it now."""
    return str(space.try_create(vmi, dry_run=True).ok()["spec"]["domain"]["cpu"]["model"])


def _dmi(shell: Console, names: Mapping[str, str]) -> dict[str, str]:
    return {name: hardware.dmi(shell, name) for name in names}


@pytest.mark.serial
@pytest.mark.demand(vcpus=2, memory_mib=800, boots=2)
@pytest.mark.case("BOOT-022")
@pytest.mark.case("BOOT-033")
def test_settings_of_the_cluster_reach_the_next_guest(space: Space, cluster: Cluster) -> None:
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

    second = build.kernel_boot_vmi(cluster, "second")
    with settings.changed(space.rest, {"configuration": {"smbios": SMBIOS, "cpuModel": MODEL}}):
        patience.eventually("admission knows the model", lambda: _model(space, second), lambda model: model == MODEL)
        vmi, shell = space.boot(second)
        texts = {SHOWN_AS[setting]: text for setting, text in SMBIOS.items()}
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
    with settings.changed(space.rest, {"configuration": {"cpuModel": None}}):
        unset = build.merged(second, {"metadata": {"name": "unset"}})
        assert patience.eventually(
            "admission has no model of the cluster's", lambda: _model(space, unset), lambda model: model == "host-model"
        ) == "host-model"  # fmt: skip
