"""The launcher pod of a VMI, as a pure function: :func:`virt.controller.vmi.pod.template.launcher_pod`.

It meets the *restricted* pod security standard: no capability, no hostPath, no token, uid 107. What it needs of its
node comes through the device plugins. Compare KubeVirt: pkg/virt-controller/services/template.go.
"""
