"""Admission rules. ``instance``, ``machine``, ``migration``, ``policy`` and ``kubevirt`` each judge one kind and return
all causes.

Nothing here raises, whatever decodes; ``virt.api.status.invalid`` makes the answer and cuts it at ten causes.
KubeVirt: pkg/virt-api/webhooks/validating-webhook/admitters.
"""
