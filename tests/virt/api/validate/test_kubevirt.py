"""Rules for the KubeVirt CR."""

from typing import Any

import pytest

from virt.api import codec, v1
from virt.api.validate import kubevirt
from virt.operator import static

CONFIGURATION = "spec.configuration"
SELF_SIGNED = "spec.certificateRotateStrategy.selfSigned"


CIPHER = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
PROFILE = f"{CONFIGURATION}.seccompConfiguration.virtualMachineInstanceProfile.customProfile"


def profile(**custom: Any) -> dict[str, Any]:
    return {"virtualMachineInstanceProfile": {"customProfile": custom}}


def written(**spec: Any) -> v1.KubeVirt:
    return codec.from_json({"spec": spec}, v1.KubeVirt)


def self_signed(**config: Any) -> dict[str, Any]:
    return {"certificateRotateStrategy": {"selfSigned": config}}


def configuration(**config: Any) -> dict[str, Any]:
    return {"configuration": config}


@pytest.mark.parametrize(("spec", "fields"), [
    ({}, []),
    (self_signed(ca={"duration": "48h", "renewBefore": "24h"}, server={"duration": "24h", "renewBefore": "12h"}), []),
    (self_signed(ca={"duration": "1h", "renewBefore": "2h"}, server={"duration": "1h"}), [f"{SELF_SIGNED}.ca"]),
    (self_signed(server={"duration": "200h"}), [SELF_SIGNED]),
    (self_signed(server={"duration": "soon"}), [f"{SELF_SIGNED}.server.duration"]),
    (self_signed(caRotateInterval="1h", ca={}), [SELF_SIGNED]),
    ({"infra": {"replicas": 0}}, ["spec.infra.replicas"]),
    ({"infra": {"nodePlacement": {"tolerations": [{"operator": "foo"}]}}},
     ["spec.infra.nodePlacement.tolerations[0].operator"]),
    ({"workloads": {"nodePlacement": {"tolerations": [{"operator": "Exists"}, {"effect": "foo"}]}}},
     ["spec.workloads.nodePlacement.tolerations[1].effect"]),
    ({"infra": {"nodePlacement": {"nodeSelector": {"a": "b"}}}}, []),
    ({"customizeComponents": {"patches": [{"patch": "{}"}, {"patch": "{"}]}},
     ["spec.customizeComponents.patches[1].patch"]),
    (configuration(evictionStrategy="Bogus"), [f"{CONFIGURATION}.evictionStrategy"]),
    (configuration(vmRolloutStrategy="Never"), [f"{CONFIGURATION}.vmRolloutStrategy"]),
    (configuration(network={"defaultNetworkInterface": "slirp"}), [f"{CONFIGURATION}.network.defaultNetworkInterface"]),
    (configuration(additionalGuestMemoryOverheadRatio="1.5"), []),
    (configuration(additionalGuestMemoryOverheadRatio="0.9"), [f"{CONFIGURATION}.additionalGuestMemoryOverheadRatio"]),
    (configuration(additionalGuestMemoryOverheadRatio="x"), [f"{CONFIGURATION}.additionalGuestMemoryOverheadRatio"]),
    (configuration(developerConfiguration={"featureGates": ["HostDisk"], "disabledFeatureGates": ["HostDisk"]}),
     [f"{CONFIGURATION}.developerConfiguration.featureGates"]),
    (configuration(tlsConfiguration={"ciphers": [CIPHER]}), [f"{CONFIGURATION}.tlsConfiguration.ciphers"]),
    (configuration(tlsConfiguration={"ciphers": [CIPHER], "minTLSVersion": "VersionTLS13"}),
     [f"{CONFIGURATION}.tlsConfiguration.ciphers"]),
    (configuration(tlsConfiguration={"ciphers": [CIPHER, "A"], "minTLSVersion": "VersionTLS12"}),
     [f"{CONFIGURATION}.tlsConfiguration.ciphers[1]"]),
    (configuration(tlsConfiguration={"ciphers": [CIPHER], "minTLSVersion": "VersionTLS12"}), []),
    (configuration(tlsConfiguration={"minTLSVersion": "1.2"}), [f"{CONFIGURATION}.tlsConfiguration.minTLSVersion"]),
    (configuration(seccompConfiguration=profile(localhostProfile="p", runtimeDefaultProfile=True)), [PROFILE]),
    (configuration(seccompConfiguration=profile()), [PROFILE]),
    (configuration(seccompConfiguration=profile(localhostProfile="p")), []),
    (configuration(roleAggregationStrategy="Manual"), []),
    (configuration(roleAggregationStrategy="Sometimes"), [f"{CONFIGURATION}.roleAggregationStrategy"]),
    (configuration(roleAggregationStrategy="Manual",
                   developerConfiguration={"disabledFeatureGates": ["OptOutRoleAggregation"]}),
     [f"{CONFIGURATION}.roleAggregationStrategy"]),
    (configuration(cpuRequest="much"), [f"{CONFIGURATION}.cpuRequest"]),
])
def test_kubevirt(spec: dict[str, Any], fields: list[str]) -> None:
    assert [cause.field for cause in kubevirt.causes(written(**spec))] == fields


def test_there_is_only_one_kubevirt() -> None:
    assert kubevirt.refusal(()) is None
    refusal = kubevirt.refusal((v1.KubeVirt(),))
    assert refusal is not None
    assert refusal.code == 400


def test_gates_without_effect_are_warned_about() -> None:
    gates = configuration(developerConfiguration={"featureGates": ["LiveMigration", "HostDisk", "Passt"]})
    assert kubevirt.warnings(written(**gates)) == (
        "feature gate LiveMigration is GA", "feature gate Passt is Discontinued",
    )


@pytest.mark.parametrize(("spec", "field"), [
    (configuration(seccompConfiguration={"a": {}}), "configuration.seccompConfiguration"),
    (configuration(developerConfiguration={"logVerbosity": {"virtAPI": 5}}),
     "configuration.developerConfiguration.logVerbosity"),
    (configuration(developerConfiguration={"minimumReservePVCBytes": 1}),
     "configuration.developerConfiguration.minimumReservePVCBytes"),
    (configuration(architectureConfiguration={"amd64": {"ovmfPath": "/x"}}),
     "configuration.architectureConfiguration.amd64.ovmfPath"),
    (configuration(ksmConfiguration={"nodeLabelSelector": {}}), "configuration.ksmConfiguration"),
    ({"monitorNamespace": "m"}, "monitorNamespace"),
])
def test_settings_without_effect_are_warned_about(spec: dict[str, Any], field: str) -> None:
    (warning,) = kubevirt.warnings(written(**spec))
    assert warning.startswith(f"spec.{field} is not supported yet")


def test_what_a_new_cluster_sets_is_no_reason_to_warn() -> None:
    spec = static.kubevirt(emulation=True, cpu_model="Nehalem")["spec"]
    assert kubevirt.warnings(written(**spec)) == ()


_CARD = {"pciVendorSelector": "10DE:1eb8", "resourceName": "nvidia.com/T4"}


@pytest.mark.parametrize(("device", "field"), [
    ({**_CARD, "pciVendorSelector": "10de"}, "pciHostDevices[1].pciVendorSelector"),
    ({**_CARD, "pciVendorSelector": "10de:1eb8:0"}, "pciHostDevices[1].pciVendorSelector"),
    ({**_CARD, "pciVendorSelector": ""}, "pciHostDevices[1].pciVendorSelector"),
    ({**_CARD, "resourceName": "T4"}, "pciHostDevices[1].resourceName"),
    ({**_CARD, "resourceName": "nvidia.com/T 4"}, "pciHostDevices[1].resourceName"),
    ({**_CARD, "resourceName": "kubernetes.io/cpu"}, "pciHostDevices[1].resourceName"),
    ({**_CARD, "resourceName": "devices.kubevirt.io/kvm"}, "pciHostDevices[1].resourceName"),
    ({**_CARD, "resourceName": "example.com/twice"}, "pciHostDevices[1].pciVendorSelector"),
])
def test_a_device_that_cannot_be_permitted_is_refused_at_its_field(device: dict[str, str], field: str) -> None:
    found = kubevirt.causes(written(**configuration(permittedHostDevices={"pciHostDevices": [_CARD, device]})))
    assert f"spec.configuration.permittedHostDevices.{field}" in [cause.field for cause in found]


_STICK = {"resourceName": "x.com/stick", "selectors": [{"vendor": "46f4", "product": "0001"}]}
_PART = {"resourceName": "x.com/part", "mdevNameSelector": "GRID T4-1Q"}


@pytest.mark.parametrize(("kind", "device", "field"), [
    ("usb", {"resourceName": "x.com/a"}, "usb[1].selectors"),
    ("usb", {"resourceName": "x.com/a", "selectors": [{"vendor": "0x46f4", "product": "0001"}]},
     "usb[1].selectors[0].vendor"),
    ("usb", {"resourceName": "x.com/a", "selectors": [{"vendor": "46f4"}]}, "usb[1].selectors[0].product"),
    ("usb", {**_STICK, "resourceName": "x.com/other"}, "usb[1].selectors"),
    ("usb", {"resourceName": "stick", "selectors": [{"vendor": "46f4", "product": "0003"}]}, "usb[1].resourceName"),
    ("usb", {"resourceName": "x.com/part", "selectors": [{"vendor": "1d6b", "product": "0002"}]},
     "usb[1].resourceName"),
    ("mediatedDevices", {"resourceName": "x.com/a"}, "mediatedDevices[1].mdevNameSelector"),
    ("mediatedDevices", {**_PART, "resourceName": "x.com/other"}, "mediatedDevices[1].mdevNameSelector"),
])
def test_usb_and_mediated_devices_are_refused_at_their_field(kind: str, device: dict[str, Any], field: str) -> None:
    listed: dict[str, list[dict[str, Any]]] = {"usb": [_STICK], "mediatedDevices": [_PART]}
    listed[kind] = [*listed[kind], device]
    found = kubevirt.causes(written(**configuration(permittedHostDevices=listed)))
    assert [cause.field for cause in found] == [f"spec.configuration.permittedHostDevices.{field}"]


def test_usb_and_mediated_devices_may_be_permitted() -> None:
    pair = {"resourceName": "x.com/stick", "selectors": [*_STICK["selectors"], {"vendor": "46F4", "product": "0002"}]}
    other = {"resourceName": "x.com/other", "externalResourceProvider": True}
    asked = configuration(permittedHostDevices={"usb": [_STICK, pair, other], "mediatedDevices": [_PART]})
    assert kubevirt.causes(written(**asked)) == ()
    assert kubevirt.warnings(written(**asked)) == ()


def test_devices_may_be_permitted() -> None:
    second = {"pciVendorSelector": "10de:1eb9", "resourceName": "nvidia.com/T4", "externalResourceProvider": True}
    asked = configuration(permittedHostDevices={"pciHostDevices": [_CARD, second]})
    assert kubevirt.causes(written(**asked)) == ()
    assert kubevirt.warnings(written(**asked)) == ()
