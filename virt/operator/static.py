"""What people apply to get the operator, and the dev cluster's KubeVirt object. The operator makes everything else."""

from collections.abc import Sequence

from virt.api import crds, kinds, names
from virt.operator import settings
from virt.operator.resources import Json
from virt.operator.strategy import network, rbac, workloads
from virt.operator.strategy.rules import (
    CHANGE,
    EVERYTHING,
    READ,
    cluster_binding,
    cluster_role,
    role,
    role_binding,
    rule,
    service_account,
)
from virt.operator.target import Images

_NAMESPACE = names.INSTALL_NAMESPACE
_RBAC = "rbac.authorization.k8s.io"


def operator(images: Images, version: str, replicas: int = 2) -> tuple[Json, ...]:
    """In order of application."""
    return (
        {
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {
                "name": _NAMESPACE,
                "labels": {"kubevirt.io": "", "pod-security.kubernetes.io/enforce": "privileged"},
            },
        },
        kubevirt_definition(),
        {
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
            "metadata": {"name": workloads.PRIORITY_CLASS},
            "value": 1_000_000_000, "globalDefault": False,
            "description": "Components of KubeVirt: they are needed by every virtual machine.",
        },
        service_account(names.OPERATOR_ACCOUNT, _NAMESPACE),
        cluster_role(
            "kubevirt.io:operator", (rule(names.GROUP, ("kubevirts",), EVERYTHING),),
            {f"operator.{names.GROUP}": ""},
        ),
        cluster_role(names.OPERATOR_ACCOUNT, cluster_rules()),
        cluster_binding(names.OPERATOR_ACCOUNT, names.OPERATOR_ACCOUNT, (names.OPERATOR_ACCOUNT, _NAMESPACE)),
        role(names.OPERATOR_ACCOUNT, _NAMESPACE, namespace_rules()),
        role_binding(names.OPERATOR_ACCOUNT, _NAMESPACE, (names.OPERATOR_ACCOUNT, _NAMESPACE)),
        {
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": settings.CONFIG_MAP, "namespace": _NAMESPACE},
            "data": settings.variables(images, version),
        },
        _deployment(images.operator, replicas),
    )


def kubevirt_definition() -> Json:
    name = f"{kinds.KUBEVIRT.plural}.{kinds.KUBEVIRT.group}"
    return next(found for found in crds.definitions() if found["metadata"]["name"] == name)


def cluster_rules() -> tuple[Json, ...]:
    """Its own, and all that it grants: kube-apiserver lets nobody grant more than they hold."""
    return (
        rule(names.GROUP, ("kubevirts", "kubevirts/status", "kubevirts/finalizers"), CHANGE),
        rule("apiextensions.k8s.io", ("customresourcedefinitions",), CHANGE),
        rule("apiregistration.k8s.io", ("apiservices",), CHANGE),
        rule(
            "admissionregistration.k8s.io", ("validatingwebhookconfigurations", "mutatingwebhookconfigurations"), CHANGE
        ),
        rule(_RBAC, ("clusterroles", "clusterrolebindings", "roles", "rolebindings"), CHANGE),
        rule(_RBAC, ("clusterroles",), ("bind",), only=(rbac.AUTH_DELEGATOR,)),
        *rbac.granted(),
    )


def namespace_rules() -> tuple[Json, ...]:
    return (
        rule("", ("secrets", "configmaps", "services", "serviceaccounts"), CHANGE),
        rule("", ("pods",), READ),
        rule("apps", ("deployments", "daemonsets"), CHANGE),
        rule("policy", ("poddisruptionbudgets",), CHANGE),
        rule("coordination.k8s.io", ("leases",), CHANGE),
        rule("", ("events",), ("create", "patch")),
    )


def _deployment(image: str, replicas: int) -> Json:
    container: Json = {
        "name": network.OPERATOR,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-m", "virt.cli.operator"],
        # Nothing of the other components: a new image of one of them must not restart the operator.
        "env": [*workloads.pod_env(), {"name": "VIRT_OPERATOR_IMAGE", "value": image}],
        "ports": [
            {"name": "metrics", "containerPort": names.API_PORT, "protocol": "TCP"},
            {"name": "webhooks", "containerPort": network.OPERATOR_WEBHOOK_PORT, "protocol": "TCP"},
        ],
        "resources": {"requests": {"cpu": "10m", "memory": "150Mi"}},
        "securityContext": workloads.unprivileged(),
        **workloads.probes("/metrics"),
    }
    pod = workloads.spread({
        "serviceAccountName": names.OPERATOR_ACCOUNT,
        "priorityClassName": workloads.PRIORITY_CLASS,
        "securityContext": workloads.pod_security(),
        "terminationGracePeriodSeconds": 25,
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "CriticalAddonsOnly", "operator": "Exists"}],
        "containers": [container],
    }, network.OPERATOR)
    labels = {names.APP_LABEL: network.OPERATOR}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": network.OPERATOR, "namespace": _NAMESPACE, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            # As with the components: all new ones at once, and the old leader goes when a new one is ready.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "100%", "maxUnavailable": 0}},
            "template": {
                "metadata": {"labels": {**labels, network.METRICS_LABEL: "true"}},
                "spec": pod,
            },
        },
    }


def kubevirt(*, emulation: bool, cpu_model: str, taints: Sequence[str] = ()) -> Json:
    """``cpu_model`` "" leaves the default (the node's model). ``taints``: keys that the node agents tolerate."""
    configuration: Json = {
        "developerConfiguration": {"useEmulation": emulation},
        # VMs on a bridge to the pod network cannot migrate, so the default of a cluster for tests is the other one.
        "network": {"defaultNetworkInterface": "masquerade"},
    }
    if cpu_model:
        configuration["cpuModel"] = cpu_model
    spec: Json = {
        "imagePullPolicy": "IfNotPresent", "configuration": configuration,
        # Without it a guest that is to get processors while it runs waits until somebody moves it.
        "workloadUpdateStrategy": {"workloadUpdateMethods": ["LiveMigrate"]},
    }
    if taints:
        spec["workloads"] = {"nodePlacement": {"tolerations": [{"key": key, "operator": "Exists"} for key in taints]}}
    return {
        "apiVersion": "kubevirt.io/v1",
        "kind": "KubeVirt",
        "metadata": {"name": "kubevirt", "namespace": _NAMESPACE},
        "spec": spec,
    }
