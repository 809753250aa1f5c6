"""Name, DNS, lifecycle, probes and scheduling of a VMI: rules 43 to 50 and 95 of the specification."""

from collections.abc import Sequence

from virt.api import core, v1
from virt.api.ipaddresses import is_address
from virt.api.validate.causes import Causes, dns_label, dns_subdomain, invalid, not_supported, one_of, required

EVICTION_STRATEGIES = ("None", "LiveMigrate", "LiveMigrateIfPossible", "External")
_DNS_POLICIES = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
_MAX_NAMESERVERS, _MAX_SEARCHES, _MAX_SEARCH_CHARACTERS = 3, 6, 256
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_SELECTOR_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt")


def causes(path: str, spec: v1.VirtualMachineInstanceSpec) -> Causes:
    if spec.hostname:
        yield from dns_label(f"{path}.hostname", spec.hostname)
    if spec.subdomain:
        yield from dns_subdomain(f"{path}.subdomain", spec.subdomain)
    yield from _dns(path, spec)
    if spec.eviction_strategy is not None and spec.eviction_strategy not in EVICTION_STRATEGIES:
        yield not_supported(f"{path}.evictionStrategy", f"{path}.evictionStrategy is set with an unrecognized option: "
                                                        f"{spec.eviction_strategy}")
    if spec.start_strategy is not None:
        if spec.start_strategy != "Paused":
            yield not_supported(f"{path}.startStrategy",
                                f"{path}.startStrategy is set with an unrecognized option: {spec.start_strategy}")
        elif spec.liveness_probe is not None:
            yield invalid(f"{path}.startStrategy", "either spec.startStrategy or spec.livenessProbe should be provided."
                                                   "Pausing VMI with LivenessProbe is not supported")
    grace = spec.termination_grace_period_seconds
    if grace is not None and grace < 0:
        yield invalid(f"{path}.terminationGracePeriodSeconds",
                      f"{path}.terminationGracePeriodSeconds must not be negative: {grace}")
    has_pod_network = any(network.pod is not None for network in spec.networks)
    for name, probe in (("readinessProbe", spec.readiness_probe), ("livenessProbe", spec.liveness_probe)):
        if probe is not None:
            yield from _probe(f"{path}.{name}", probe, has_pod_network=has_pod_network)
    yield from _scheduling(path, spec)


def _dns(path: str, spec: v1.VirtualMachineInstanceSpec) -> Causes:
    yield from one_of(f"{path}.dnsPolicy", spec.dns_policy, _DNS_POLICIES, "DNS policy")
    config = spec.dns_config
    if config is None:
        if spec.dns_policy == "None":
            yield required(f"{path}.dnsConfig", "must provide `dnsConfig` when `dnsPolicy` is None")
        return
    # KubeVirt names these two fields without the path before them, and clients compare.
    if spec.dns_policy == "None" and not config.nameservers:
        yield required("nameservers", "must provide at least one DNS nameserver when `dnsPolicy` is None")
    if len(config.nameservers) > _MAX_NAMESERVERS:
        servers = ", ".join(config.nameservers)
        yield invalid("nameservers", f"must not have more than {_MAX_NAMESERVERS} nameservers: {servers}")
    for server in config.nameservers:
        if not is_address(server):
            yield invalid("nameservers", f"must be a valid IP address: {server!r}")
    if len(config.searches) > _MAX_SEARCHES:
        yield invalid("searchDomains", f"must not have more than {_MAX_SEARCHES} search paths")
    if len(" ".join(config.searches)) > _MAX_SEARCH_CHARACTERS:
        yield invalid("searchDomains", f"must not have more than {_MAX_SEARCH_CHARACTERS} characters in search paths")
    for domain in config.searches:
        yield from dns_subdomain("searchDomains", domain.removesuffix("."))
    for option in config.options:
        if not option.name:
            yield required("options", "must not be empty: the name of a DNS option")


def _probe(path: str, probe: v1.Probe, *, has_pod_network: bool) -> Causes:
    handlers = {"exec": probe.exec, "guestAgentPing": probe.guest_agent_ping, "httpGet": probe.http_get,
                "tcpSocket": probe.tcp_socket}
    given = [name for name, handler in handlers.items() if handler is not None]
    if len(given) != 1:
        problem = "more than one probe type" if given else "no probe type"
        yield invalid(path, f"{path} must have exactly one probe type set, but has {problem}")
    if probe.exec is not None and not any(probe.exec.command[:1]):
        yield required(f"{path}.exec.command", f"{path}.exec.command needs a program to run in the guest")
    for name in ("httpGet", "tcpSocket"):
        if name in given and not has_pod_network:
            yield invalid(f"{path}.{name}", f"{path}.{name} is only allowed if the Pod Network is attached")
    for name, action in (("httpGet", probe.http_get), ("tcpSocket", probe.tcp_socket)):
        if action is not None and not _is_port(action.port):
            yield invalid(f"{path}.{name}.port", f"{path}.{name}.port must be a port number or name: {action.port!r}")
    numbers = {
        "initialDelaySeconds": probe.initial_delay_seconds, "timeoutSeconds": probe.timeout_seconds,
        "periodSeconds": probe.period_seconds, "successThreshold": probe.success_threshold,
        "failureThreshold": probe.failure_threshold,
    }
    for name, number in numbers.items():
        if number < 0:
            yield invalid(f"{path}.{name}", f"{path}.{name} must not be negative: {number}")


def _is_port(port: int | str) -> bool:
    number = int(port) if isinstance(port, int) or (port.isascii() and port.isdecimal() and len(port) < 6) else None
    return bool(port) if number is None and isinstance(port, str) else number is not None and 1 <= number <= 65535


def _scheduling(path: str, spec: v1.VirtualMachineInstanceSpec) -> Causes:
    for index, constraint in enumerate(spec.topology_spread_constraints):
        field = f"{path}.topologySpreadConstraints[{index}]"
        if constraint.max_skew <= 0:
            yield invalid(f"{field}.maxSkew", f"{field}.maxSkew must be greater than zero: {constraint.max_skew}")
        if not constraint.topology_key:
            yield required(f"{field}.topologyKey", f"{field}.topologyKey can not be empty")
        if constraint.when_unsatisfiable not in ("DoNotSchedule", "ScheduleAnyway"):
            yield not_supported(f"{field}.whenUnsatisfiable",
                                f"{field}.whenUnsatisfiable must be DoNotSchedule or ScheduleAnyway")
    yield from scheduling(path, spec.affinity or core.Affinity(), spec.tolerations)


def scheduling(path: str, affinity: core.Affinity, tolerations: Sequence[core.Toleration]) -> Causes:
    """Of any pod: a guest's, or a component's that the KubeVirt CR places."""
    nodes = affinity.node_affinity or core.NodeAffinity()
    terms = nodes.required_during_scheduling_ignored_during_execution
    for index, term in enumerate(terms.node_selector_terms if terms else ()):
        field = (f"{path}.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"
                 f".nodeSelectorTerms[{index}].matchExpressions")
        for place, expression in enumerate(term.match_expressions):
            if expression.operator not in _SELECTOR_OPERATORS:
                yield not_supported(f"{field}[{place}].operator", f"{field}[{place}].operator: {expression.operator!r} "
                                                                  "is no valid selector operator")
    for kind, pods in (("podAffinity", affinity.pod_affinity), ("podAntiAffinity", affinity.pod_anti_affinity)):
        required_terms = pods.required_during_scheduling_ignored_during_execution if pods else ()
        for index, pod_term in enumerate(required_terms):
            if not pod_term.topology_key:
                field = f"{path}.affinity.{kind}.requiredDuringSchedulingIgnoredDuringExecution[{index}].topologyKey"
                yield required(field, f"{field} can not be empty")
    for index, toleration in enumerate(tolerations):
        field = f"{path}.tolerations[{index}]"
        if toleration.operator not in ("", "Equal", "Exists"):
            what = f"{field}.operator"
            yield not_supported(what, f"{what} must be Equal or Exists: {toleration.operator!r}")
        if toleration.effect not in ("", *_EFFECTS):
            what = f"{field}.effect"
            yield not_supported(what, f"{what} must be one of {', '.join(_EFFECTS)}: {toleration.effect!r}")
