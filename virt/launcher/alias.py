"""libvirt's aliases of devices: they carry the names of the spec into events and statistics."""

ALIAS_PREFIX = "ua-"                # libvirt keeps aliases that start so

FUNCTION = "sriov-"                 # begins the names of virtual functions: the same name may stand in several lists


def alias(name: str) -> str:
    """libvirt's alias of the device with this name in the spec."""
    return f"{ALIAS_PREFIX}{name}"


def name_of(alias: str) -> str:
    """The name in the spec of the device with this alias; "" for devices that are not from the spec."""
    return alias.removeprefix(ALIAS_PREFIX) if alias.startswith(ALIAS_PREFIX) else ""
