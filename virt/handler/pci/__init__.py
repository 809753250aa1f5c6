"""PCI functions that guests get for themselves: what is there, what is offered, who has it, how it is set.

Compare KubeVirt: pkg/virt-handler/device-manager; and the SR-IOV network device plugin with its CNI plugin, whose
names and configuration people know.
"""
