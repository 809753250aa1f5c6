"""What a guest and its agent say of themselves. Apart from ``virt.api.v1``: each launcher has it in memory, and nothing
else of the API's types, which are more than a MiB."""

from virt.api.wire import Wire, always


class VirtualMachineInstanceGuestOSInfo(Wire):
    name: str = ""
    id: str = ""
    version: str = ""
    version_id: str = ""
    pretty_name: str = ""
    kernel_release: str = ""
    kernel_version: str = ""
    machine: str = ""


class GuestAgentCommandInfo(Wire):
    name: str = always("")
    enabled: bool = always(False)


class VirtualMachineInstanceGuestOSUser(Wire):
    """``login_time``: seconds since 1970."""

    user_name: str = ""
    domain: str = ""
    login_time: float = 0.0


class VirtualMachineInstanceFileSystemDisk(Wire):
    serial: str = ""
    bus_type: str = ""


class VirtualMachineInstanceFileSystem(Wire):
    disk_name: str = always("")
    mount_point: str = always("")
    file_system_type: str = always("")
    used_bytes: int = always(0)
    total_bytes: int = always(0)
    disk: tuple[VirtualMachineInstanceFileSystemDisk, ...] = ()


class VirtualMachineInstanceFileSystemInfo(Wire):
    disks: tuple[VirtualMachineInstanceFileSystem, ...] = always(())


class VirtualMachineInstanceGuestAgentInfo(Wire):
    """Answer of guestosinfo."""

    api_version: str = always("subresources.kubevirt.io/v1")
    kind: str = always("VirtualMachineInstanceGuestAgentInfo")
    guest_agent_version: str = ""
    supported_commands: tuple[GuestAgentCommandInfo, ...] = ()
    hostname: str = ""
    os: VirtualMachineInstanceGuestOSInfo = VirtualMachineInstanceGuestOSInfo()
    timezone: str = ""
    user_list: tuple[VirtualMachineInstanceGuestOSUser, ...] = ()
    fs_info: VirtualMachineInstanceFileSystemInfo = VirtualMachineInstanceFileSystemInfo()
    fs_freeze_status: str = ""


class VirtualMachineInstanceGuestOSUserList(Wire):
    """Answer of userlist."""

    api_version: str = always("subresources.kubevirt.io/v1")
    kind: str = always("VirtualMachineInstanceGuestOSUserList")
    items: tuple[VirtualMachineInstanceGuestOSUser, ...] = always(())


class VirtualMachineInstanceFileSystemList(Wire):
    """Answer of filesystemlist."""

    api_version: str = always("subresources.kubevirt.io/v1")
    kind: str = always("VirtualMachineInstanceFileSystemList")
    items: tuple[VirtualMachineInstanceFileSystem, ...] = always(())
