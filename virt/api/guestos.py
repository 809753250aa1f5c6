"""What a guest says of its operating system. Apart from ``virt.api.v1``: each launcher has it in memory, and nothing
else of the API's types, which are more than a MiB."""

from virt.api.wire import Wire


class VirtualMachineInstanceGuestOSInfo(Wire):
    name: str = ""
    id: str = ""
    version: str = ""
    version_id: str = ""
    pretty_name: str = ""
    kernel_release: str = ""
    kernel_version: str = ""
    machine: str = ""
