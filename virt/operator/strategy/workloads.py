"""Deployments virt-api and virt-controller and DaemonSet virt-handler."""

from collections.abc import Sequence
from typing import Any

from virt.api import codec, names
from virt.operator.certificates.plan import CONTROLLER_CERTS
from virt.operator.resources import Json
from virt.operator.strategy import network
from virt.operator.strategy.placement import INFRA, WORKLOADS, placed
from virt.operator.target import Target, placement

CONTROLLER = "virt-controller"
HANDLER = names.HANDLER
PRIORITY_CLASS = "kubevirt-cluster-critical"
DEVICE_PLUGINS_DIR = "/var/lib/kubelet/device-plugins"
_CAPABILITIES_MOUNT = {"name": "capabilities", "mountPath": names.HANDLER_CAPABILITIES_DIR}
_USER = 1001
_CA_DIR = names.CA_FILE.rpartition("/")[0]


def api(target: Target) -> Json:
    container = _container(target, "api", target.images.api, memory="150Mi")
    pod = _pod(target, container, names.API_ACCOUNT, (names.API_CERTS, names.HANDLER_CLIENT_CERTS))
    return _deployment(target, names.API_SERVICE, pod, target.api_replicas)


def controller(target: Target) -> Json:
    container = _container(target, "controller", target.images.controller, memory="150Mi")
    container["env"].append({"name": "VIRT_LAUNCHER_IMAGE", "value": target.images.launcher})
    pod = _pod(target, container, names.CONTROLLER_ACCOUNT, (CONTROLLER_CERTS,))
    return _deployment(target, CONTROLLER, pod, target.controller_replicas)


def handler(target: Target) -> Json:
    container = _container(target, "handler", target.images.handler, memory="150Mi")
    container["ports"].append({"name": "console", "containerPort": names.HANDLER_PORT, "protocol": "TCP"})
    container["securityContext"] = {"privileged": True}
    folders = ((names.NODE_DIR, "Bidirectional"), (DEVICE_PLUGINS_DIR, None))
    certs = (names.HANDLER_CERTS, names.HANDLER_CLIENT_CERTS, names.MIGRATION_CERTS)
    pod = _pod(target, container, names.HANDLER_ACCOUNT, certs)
    for folder, propagation in folders:
        name = folder.rpartition("/")[2]
        mount = {"name": name, "mountPath": folder} | ({"mountPropagation": propagation} if propagation else {})
        container["volumeMounts"].append(mount)
        pod["volumes"].append({"name": name, "hostPath": {"path": folder, "type": "DirectoryOrCreate"}})
    container["volumeMounts"].append({**_CAPABILITIES_MOUNT, "readOnly": True})
    pod["volumes"].append({"name": _CAPABILITIES_MOUNT["name"], "emptyDir": {}})
    pod["initContainers"] = [_launcher(target)]
    pod["hostPID"] = True
    pod["securityContext"] = {"runAsUser": 0}
    pod["terminationGracePeriodSeconds"] = 30       # guests do not depend on it: nothing to wait for
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": _meta(target, HANDLER),
        "spec": {
            "selector": {"matchLabels": {names.APP_LABEL: HANDLER}},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
            "template": _template(HANDLER, placed(pod, placement(target.spec.workloads), WORKLOADS)),
        },
    }


def _launcher(target: Target) -> Json:
    """Asks QEMU once per node what it can do (virt.launcher.capabilities), and brings the image to every node."""
    return {
        "name": names.LAUNCHER,
        "image": target.images.launcher,
        "imagePullPolicy": target.pull_policy,
        "command": [
            names.LAUNCHER_INIT_HELPER, "python3", "-m", "virt.launcher.capabilities", names.HANDLER_CAPABILITIES_DIR,
        ],
        "resources": {"requests": {"cpu": "10m", "memory": "100Mi"}},
        "securityContext": {**unprivileged(), "runAsUser": names.KUBEVIRT_USER, "runAsGroup": names.KUBEVIRT_USER},
        "volumeMounts": [_CAPABILITIES_MOUNT],
    }


def _deployment(target: Target, name: str, pod: Json, replicas: int) -> Json:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _meta(target, name),
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {names.APP_LABEL: name}},
            # All new pods at once beside the old ones: starting takes seconds, and no moment is without a replica.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "100%", "maxUnavailable": 0}},
            "template": _template(name, placed(spread(pod, name), placement(target.spec.infra), INFRA)),
        },
    }


def spread(pod: Json, name: str) -> Json:
    """Replicas on different nodes, where there are such."""
    term = {"labelSelector": {"matchLabels": {names.APP_LABEL: name}}, "topologyKey": "kubernetes.io/hostname"}
    preferred = [{"weight": 1, "podAffinityTerm": term}]
    return {**pod, "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}}


def _template(name: str, pod: Json) -> Json:
    labels = {names.APP_LABEL: name, network.METRICS_LABEL: "true"}
    annotations = {names.DEFAULT_CONTAINER_ANNOTATION: name}
    return {"metadata": {"labels": labels, "annotations": annotations}, "spec": pod}


def _meta(target: Target, name: str) -> Json:
    return {"name": name, "namespace": target.namespace, "labels": {names.APP_LABEL: name}}


def _container(target: Target, component: str, image: str, *, memory: str) -> Json:
    return {
        "name": f"virt-{component}",
        "image": image,
        "imagePullPolicy": target.pull_policy,
        "command": ["python3", "-m", f"virt.cli.{component}"],
        "env": [*pod_env(), *({"name": name, "value": value} for name, value in target.passed_env)],
        "ports": [{"name": "metrics", "containerPort": names.API_PORT, "protocol": "TCP"}],
        "resources": {"requests": {"cpu": "10m", "memory": memory}},
        "securityContext": unprivileged(),
        "volumeMounts": [],
        **probes("/healthz"),
    }


def pod_env() -> list[Json]:
    """What every component knows about its pod."""
    fields = (
        ("POD_NAME", "metadata.name"), ("POD_NAMESPACE", "metadata.namespace"), ("NODE_NAME", "spec.nodeName"),
        ("POD_IP", "status.podIP"),
    )
    return [
        {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}} for name, path in fields
    ]


def probes(path: str) -> dict[str, Any]:
    """Readiness is seen within a second of the start, and costs little afterwards.

    The kubelet asks the readiness probe at once when the startup probe has passed.
    """
    request = {"path": path, "port": names.API_PORT, "scheme": "HTTPS"}
    return {
        "startupProbe": {"httpGet": request, "periodSeconds": 1, "failureThreshold": 120, "timeoutSeconds": 5},
        "readinessProbe": {"httpGet": request, "periodSeconds": 5, "failureThreshold": 3, "timeoutSeconds": 5},
        "livenessProbe": {"httpGet": request, "periodSeconds": 15, "failureThreshold": 4, "timeoutSeconds": 10},
    }


def unprivileged() -> Json:
    return {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def _pod(target: Target, container: Json, account: str, secrets: Sequence[str]) -> Json:
    volumes: list[Json] = [{"name": names.CA_CONFIG_MAP, "configMap": {"name": names.CA_CONFIG_MAP}}]
    container["volumeMounts"].append({"name": names.CA_CONFIG_MAP, "mountPath": _CA_DIR, "readOnly": True})
    for secret in secrets:
        mount = {"name": secret, "mountPath": f"{names.CERTS_DIR}/{secret}", "readOnly": True}
        container["volumeMounts"].append(mount)
        volumes.append({"name": secret, "secret": {"secretName": secret}})
    pod: Json = {
        "serviceAccountName": account,
        "priorityClassName": PRIORITY_CLASS,
        "securityContext": pod_security(),
        "terminationGracePeriodSeconds": 25,        # a component gives itself 20 s
        "containers": [container],
        "volumes": volumes,
    }
    if target.spec.image_pull_secrets:
        pod["imagePullSecrets"] = codec.to_json(target.spec.image_pull_secrets)
    return pod


def pod_security() -> Json:
    return {
        "runAsNonRoot": True, "runAsUser": _USER, "runAsGroup": _USER, "fsGroup": _USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
