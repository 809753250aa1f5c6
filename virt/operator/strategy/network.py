"""Services, and what makes kube-apiserver call them: aggregated API versions and admission webhooks."""

import base64

from virt.api import names, webhookpaths
from virt.api.webhookpaths import Webhook
from virt.operator.resources import Json

METRICS_SERVICE = "kubevirt-prometheus-metrics"
METRICS_LABEL = "prometheus.kubevirt.io"
OPERATOR = "virt-operator"
OPERATOR_WEBHOOK_PORT = 8444


def services(namespace: str) -> tuple[Json, ...]:
    return (
        _service(namespace, names.API_SERVICE, {names.APP_LABEL: names.API_SERVICE}, names.API_PORT),
        _service(namespace, names.OPERATOR_SERVICE, {names.APP_LABEL: OPERATOR}, OPERATOR_WEBHOOK_PORT),
        _service(namespace, METRICS_SERVICE, {METRICS_LABEL: "true"}, "metrics", headless=True),
    )


def _service(
    namespace: str, name: str, selector: dict[str, str], target_port: int | str, *, headless: bool = False
) -> Json:
    port = {"name": "metrics" if headless else "webhooks", "port": 443, "targetPort": target_port, "protocol": "TCP"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"type": "ClusterIP", "selector": selector, "ports": [port]} | (
            {"clusterIP": "None"} if headless else {}
        ),
    }


def registrations(namespace: str, bundle: str) -> tuple[Json, ...]:
    """``bundle``: PEM of the CAs that the servers' certificates may be signed by."""
    encoded = base64.b64encode(bundle.encode()).decode()
    return (
        *(_api_service(namespace, version, encoded) for version in names.SUBRESOURCE_VERSIONS),
        *(
            _configuration(namespace, name, encoded)
            for name in (webhookpaths.OPERATOR_VALIDATOR, webhookpaths.API_VALIDATOR, webhookpaths.API_MUTATOR)
        ),
    )


def _api_service(namespace: str, version: str, encoded: str) -> Json:
    return {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": f"{version}.{names.SUBRESOURCE_GROUP}"},
        "spec": {
            "group": names.SUBRESOURCE_GROUP,
            "version": version,
            "groupPriorityMinimum": 1000,
            "versionPriority": 15,
            "service": {"name": names.API_SERVICE, "namespace": namespace, "port": 443},
            "caBundle": encoded,
        },
    }


def _configuration(namespace: str, name: str, encoded: str) -> Json:
    kind = "Mutating" if name == webhookpaths.API_MUTATOR else "Validating"
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": f"{kind}WebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [
            _webhook(namespace, webhook, encoded)
            for webhook in webhookpaths.WEBHOOKS if webhook.configuration == name
        ],
    }


def _webhook(namespace: str, webhook: Webhook, encoded: str) -> Json:
    return {
        "name": webhook.full_name,
        "admissionReviewVersions": ["v1"],
        "sideEffects": "NoneOnDryRun" if webhook.writes else "None",
        "failurePolicy": "Fail",
        "timeoutSeconds": webhookpaths.TIMEOUT_S,
        "rules": [{
            "apiGroups": [webhook.kind.group],
            "apiVersions": list(webhook.versions),
            "resources": [webhook.resource],
            "operations": list(webhook.operations),
        }],
        **({"matchConditions": [{"name": webhook.name, "expression": webhook.condition}]} if webhook.condition else {}),
        "clientConfig": {
            "service": {"name": webhook.service, "namespace": namespace, "path": webhook.path, "port": 443},
            "caBundle": encoded,
        },
    }
