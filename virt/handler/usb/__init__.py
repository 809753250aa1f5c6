"""USB devices of the node that guests get for themselves. KubeVirt: pkg/virt-handler/device-manager/usb_device.go."""
