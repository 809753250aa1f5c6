"""Ways to talk to the guest: serial port, guest agent, display."""

from virt.api import names
from virt.launcher.design.models import VIRTIO_MODEL
from virt.launcher.design.request import Request
from virt.launcher.domain import Channel, Controller, Devices, Domain, Graphics, Listen, Serial, Video

AGENT_CHANNEL = "org.qemu.guest_agent.0"
VIDEO_MEMORY_KIB = 16 << 10
SERIAL_PORTS = 4                    # QEMU sets each of its usual 31 ports up, used or not: 3 MiB


def serial(request: Request) -> Domain:
    """Serial port 0 on a socket; its log beside it is the transcript that the log container reads."""
    if request.devices.autoattach_serial_console is False:
        return Domain()
    socket = names.serial_socket(request.vmi.metadata.uid)
    wanted = request.devices.log_serial_console
    is_logged = request.facts.serial_log if wanted is None else wanted
    return Domain(devices=Devices(serials=(Serial(
        type="unix", mode="bind", path=socket, port=0,
        log=f"{socket}-log" if is_logged else "", log_append=True if is_logged else None,
    ),)))


def guest_agent(request: Request) -> Domain:
    """The guest agent's channel; libvirt chooses the socket, for only it talks to the agent."""
    return Domain(devices=Devices(
        controllers=(Controller(type="virtio-serial", index=0, model=VIRTIO_MODEL, ports=SERIAL_PORTS),),
        channels=(Channel(type="unix", target="virtio", name=AGENT_CHANNEL),),
    ))


def graphics(request: Request) -> Domain:
    if request.devices.autoattach_graphics_device is False:
        return Domain()
    socket = names.vnc_socket(request.vmi.metadata.uid)
    return Domain(devices=Devices(
        graphics=(Graphics(type="vnc", listen=Listen(type="socket", socket=socket)),),
        videos=(Video(model="bochs" if request.is_efi else "vga", heads=1, memory_kib=VIDEO_MEMORY_KIB),),
    ))
