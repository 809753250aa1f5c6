"""Workers that are virtual machines of their own: a kernel, an IOMMU and SR-IOV cards that the machine itself lacks.

Each is QEMU in a container on the cluster's network, and takes that container's address (decision 0091).
"""
