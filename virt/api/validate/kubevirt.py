"""The KubeVirt CR: rules 115 and 116 of the specification."""

import json
from fractions import Fraction

from virt.api import clusterconfig, core, duration, featuregates, unbuilt, v1
from virt.api.status import Status, StatusCause, failure
from virt.api.validate import hostdevices
from virt.api.validate.causes import Causes, amount, invalid, not_supported, one_of
from virt.api.validate.placement import EVICTION_STRATEGIES, scheduling
from virt.api.wire import JsonObject

_CA_DURATION, _SERVER_DURATION = "168h", "24h"
_SELF_SIGNED = "spec.certificateRotateStrategy.selfSigned"
_CONFIGURATION = "spec.configuration"
AGGREGATE, MANUAL = "AggregateToDefault", "Manual"
_MANUAL_GATE = "OptOutRoleAggregation"
TLS_VERSIONS = ("VersionTLS10", "VersionTLS11", "VersionTLS12", "VersionTLS13")
# Go's names (crypto/tls) of what is left of TLS 1.2: the API takes them as they are.
CIPHERS = (
    "TLS_RSA_WITH_AES_128_CBC_SHA", "TLS_RSA_WITH_AES_256_CBC_SHA", "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
)


def refusal(existing: tuple[v1.KubeVirt, ...]) -> Status | None:
    """Whether another KubeVirt may be created beside those that exist. None means yes."""
    return failure(400, "KubeVirt is already created") if existing else None


def causes(kubevirt: v1.KubeVirt) -> tuple[StatusCause, ...]:
    """What is wrong with a KubeVirt, new or changed."""
    def found() -> Causes:
        spec = kubevirt.spec
        for index, patch in enumerate(spec.customize_components.patches):
            if not _is_json(patch.patch):
                yield invalid(f"spec.customizeComponents.patches[{index}].patch",
                              f"patch {patch.patch[:80]!r} is not valid JSON")
        if spec.certificate_rotate_strategy.self_signed is not None:
            yield from _rotation(spec.certificate_rotate_strategy.self_signed)
        if spec.infra is not None and spec.infra.replicas is not None and spec.infra.replicas < 1:
            yield invalid("spec.infra.replicas", f"infra replica count can't be 0 or less: {spec.infra.replicas}")
        for name, config in (("infra", spec.infra), ("workloads", spec.workloads)):
            if config is not None and config.node_placement is not None:
                asked = config.node_placement
                yield from scheduling(
                    f"spec.{name}.nodePlacement", asked.affinity or core.Affinity(), asked.tolerations)
        yield from _updates("spec.workloadUpdateStrategy", spec.workload_update_strategy)
        yield from _configuration(spec.configuration)
    return tuple(found())


def warnings(kubevirt: v1.KubeVirt) -> tuple[str, ...]:
    """Feature gates that no longer do what their names say, and settings without effect."""
    developer = kubevirt.spec.configuration.developer_configuration or v1.DeveloperConfiguration()
    said = []
    for gate in developer.feature_gates:
        state = featuregates.STATES.get(gate)
        if state in (featuregates.State.GA, featuregates.State.DEPRECATED, featuregates.State.DISCONTINUED):
            said.append(f"feature gate {gate} is {state.value}")
    said += [cause.message for cause in unbuilt.kubevirt_spec("spec", kubevirt.spec)]
    return tuple(said)


def _updates(path: str, written: v1.KubeVirtWorkloadUpdateStrategy) -> Causes:
    for index, method in enumerate(written.workload_update_methods):
        yield from one_of(f"{path}.workloadUpdateMethods[{index}]", method, ("LiveMigrate", "Evict"), "method")
    if (size := written.batch_eviction_size) is not None and size < 0:
        yield invalid(f"{path}.batchEvictionSize", f"{path}.batchEvictionSize must not be negative: {size}")
    if written.batch_eviction_interval is not None:
        problems: list[StatusCause] = []
        if _seconds(f"{path}.batchEvictionInterval", written.batch_eviction_interval, problems) < 0:
            problems.append(invalid(f"{path}.batchEvictionInterval", f"{path}.batchEvictionInterval must not be "
                                    f"negative: {written.batch_eviction_interval}"))
        yield from problems


def _configuration(written: v1.KubeVirtConfiguration) -> Causes:
    developer = written.developer_configuration or v1.DeveloperConfiguration()
    for gate in sorted(set(developer.feature_gates) & set(developer.disabled_feature_gates)):
        yield invalid(f"{_CONFIGURATION}.developerConfiguration.featureGates",
                      f"feature gate {gate} is both enabled and disabled")
    yield from one_of(f"{_CONFIGURATION}.evictionStrategy", written.eviction_strategy or "",
                      EVICTION_STRATEGIES, "option")
    yield from one_of(f"{_CONFIGURATION}.vmRolloutStrategy", written.vm_rollout_strategy or "",
                      ("LiveUpdate", "Stage"), "strategy")
    yield from _live_update(
        f"{_CONFIGURATION}.liveUpdateConfiguration", written.live_update_configuration or v1.LiveUpdateConfiguration())
    network = written.network or v1.NetworkConfiguration()
    yield from one_of(f"{_CONFIGURATION}.network.defaultNetworkInterface", network.default_network_interface,
                      ("bridge", "masquerade"), "binding")
    ratio = written.additional_guest_memory_overhead_ratio
    if ratio is not None and not _is_ratio(ratio):
        field = f"{_CONFIGURATION}.additionalGuestMemoryOverheadRatio"
        yield invalid(field, f"{field} must be a number of at least 1.0: {ratio!r}")
    problems: list[StatusCause] = []
    amount(f"{_CONFIGURATION}.cpuRequest", written.cpu_request, problems)
    yield from problems
    yield from _tls(f"{_CONFIGURATION}.tlsConfiguration", written.tls_configuration or v1.TLSConfiguration())
    yield from _seccomp(f"{_CONFIGURATION}.seccompConfiguration", written.seccomp_configuration or {})
    yield from _aggregation(written)
    yield from hostdevices.permitted(
        f"{_CONFIGURATION}.permittedHostDevices", written.permitted_host_devices or v1.PermittedHostDevices())


def _live_update(path: str, written: v1.LiveUpdateConfiguration) -> Causes:
    for name, count in (("maxHotplugRatio", written.max_hotplug_ratio), ("maxCpuSockets", written.max_cpu_sockets)):
        if count is not None and count < 0:
            yield invalid(f"{path}.{name}", f"{path}.{name} must not be negative: {count}")
    problems: list[StatusCause] = []
    most = amount(f"{path}.maxGuest", written.max_guest, problems)
    if most is not None and most < 0:
        yield invalid(f"{path}.maxGuest", f"{path}.maxGuest must not be negative: {written.max_guest}")
    yield from problems


def _tls(path: str, tls: v1.TLSConfiguration) -> Causes:
    yield from one_of(f"{path}.minTLSVersion", tls.min_tls_version, TLS_VERSIONS, "version")
    if tls.ciphers and tls.min_tls_version in ("", "VersionTLS13"):
        yield invalid(f"{path}.ciphers",
                      f"{path}.ciphers: you cannot specify ciphers when minTLSVersion is empty or VersionTLS13")
    for index, cipher in enumerate(tls.ciphers):
        if cipher not in CIPHERS:
            field = f"{path}.ciphers[{index}]"
            yield not_supported(field, f"{field}: {cipher!r} is no cipher of TLS 1.2, use one of {', '.join(CIPHERS)}")


def _seccomp(path: str, written: JsonObject) -> Causes:
    """A custom profile is named in one of two ways. The rest of this setting is not built (virt.api.unbuilt)."""
    launcher: JsonObject = written.get("virtualMachineInstanceProfile") or {}
    custom: JsonObject | None = launcher.get("customProfile")
    if custom is None:
        return
    kinds = [name for name in ("localhostProfile", "runtimeDefaultProfile") if custom.get(name)]
    if len(kinds) != 1:
        field = f"{path}.virtualMachineInstanceProfile.customProfile"
        problem = "has both" if kinds else "has none"
        yield invalid(field, f"{field} must have exactly one of localhostProfile and runtimeDefaultProfile, "
                             f"but {problem}")


def _aggregation(written: v1.KubeVirtConfiguration) -> Causes:
    field, strategy = f"{_CONFIGURATION}.roleAggregationStrategy", written.role_aggregation_strategy or ""
    yield from one_of(field, strategy, (AGGREGATE, MANUAL), "strategy")
    config = clusterconfig.effective(v1.KubeVirt(spec=v1.KubeVirtSpec(configuration=written)))
    if strategy == MANUAL and not config.is_enabled(_MANUAL_GATE):
        yield invalid(field, f"{field} {MANUAL} needs the feature gate {_MANUAL_GATE}")


def _rotation(strategy: v1.KubeVirtSelfSignConfiguration) -> Causes:
    old = (strategy.ca_rotate_interval, strategy.cert_rotate_interval, strategy.ca_overlap_interval)
    if any(value is not None for value in old) and (strategy.ca is not None or strategy.server is not None):
        yield invalid(_SELF_SIGNED, "caRotateInterval, certRotateInterval and caOverlapInterval are mutually exclusive "
                                    "with ca and server")
    problems: list[StatusCause] = []
    lengths: dict[str, float] = {}
    for name, config, default in (("ca", strategy.ca, _CA_DURATION), ("server", strategy.server, _SERVER_DURATION)):
        given = config or v1.CertConfig()
        whole = _seconds(f"{_SELF_SIGNED}.{name}.duration", given.duration or default, problems)
        before = _seconds(f"{_SELF_SIGNED}.{name}.renewBefore", given.renew_before or "0", problems)
        lengths[name] = whole
        if before > whole:
            problems.append(invalid(f"{_SELF_SIGNED}.{name}", f"{name} renewBefore is longer than its duration"))
    if not problems and lengths["server"] > lengths["ca"]:
        problems.append(invalid(_SELF_SIGNED, "server.duration must not be longer than ca.duration"))
    yield from problems


def _seconds(field: str, text: str, problems: list[StatusCause]) -> float:
    try:
        return duration.seconds(text)
    except duration.DurationError as error:
        problems.append(invalid(field, f"{field}: {error}"))
        return 0.0


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _is_ratio(text: str) -> bool:
    try:
        return len(text) < 32 and "e" not in text.lower() and Fraction(text) >= 1
    except (ValueError, ZeroDivisionError):
        return False
