"""Names that design steps share: virtio's model, aliases of devices."""

VIRTIO_MODEL = "virtio-non-transitional"
ALIAS_PREFIX = "ua-"                # libvirt keeps aliases that start so


def alias(name: str) -> str:
    """libvirt's alias of the device with this name in the spec; events and statistics carry it."""
    return f"{ALIAS_PREFIX}{name}"


def name_of(alias: str) -> str:
    """The name in the spec of the device with this alias; "" for devices that are not from the spec."""
    return alias.removeprefix(ALIAS_PREFIX) if alias.startswith(ALIAS_PREFIX) else ""
