"""Mediated devices: parts of a device of the node that its driver makes, as of a GPU that several guests share.

Compare KubeVirt: pkg/virt-handler/device-manager/mediated_device.go. Who makes them is not decided here.
"""
