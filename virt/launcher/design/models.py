"""Names that design steps share."""

VIRTIO_MODEL = "virtio-non-transitional"
