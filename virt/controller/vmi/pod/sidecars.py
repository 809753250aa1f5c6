"""Containers beside ``compute``: one per containerDisk, one for kernelBoot, one that logs the guest's serial console.

All are small static programs that end by themselves, with status 0, as soon as the launcher is gone however it went:
the disk helpers when its connection closes, the log reader when its lock is free. So the pod of a finished guest ends.
"""

from collections.abc import Collection, Iterator
from typing import Final

from virt.api import core, defaults, names, v1
from virt.api.clusterconfig import ClusterConfig
from virt.controller.vmi.pod import naming, resources, volumes

CONSOLE_LOG: Final = "guest-console-log"


def of(
    vmi: v1.VirtualMachineInstance, config: ClusterConfig, launcher_image: str, *, limited: Collection[str] = ()
) -> tuple[core.Container, ...]:
    """``limited``: as in :func:`virt.controller.vmi.pod.resources.compute`."""
    guaranteed = resources.is_guaranteed(vmi.spec)
    disk, console_log = (
        resources.sidecar(kind, config, guaranteed=guaranteed, limited=limited)
        for kind in ("container-disk", CONSOLE_LOG)
    )
    return (
        *_disks(vmi.spec, disk), *_kernel_boot(vmi.spec, disk),
        *_console_log(vmi, config, launcher_image, console_log),
    )


def pull_secrets(spec: v1.VirtualMachineInstanceSpec) -> tuple[core.LocalObjectReference, ...]:
    asked = [volume.container_disk.image_pull_secret for volume in spec.volumes if volume.container_disk is not None]
    boot = volumes.kernel_boot_of(spec)
    if boot is not None:
        asked.append(boot.image_pull_secret)
    return tuple(core.LocalObjectReference(name=name) for name in dict.fromkeys(asked) if name)


def confined(*, read_only_root: bool | None = None) -> core.SecurityContext:
    """What the *restricted* standard asks of every container; the rest of it is on the pod."""
    return core.SecurityContext(
        allow_privilege_escalation=False,
        capabilities=core.Capabilities(drop=("ALL",)),
        run_as_non_root=True,
        run_as_user=names.KUBEVIRT_USER,
        run_as_group=names.KUBEVIRT_USER,
        read_only_root_filesystem=read_only_root,
    )


def _disks(spec: v1.VirtualMachineInstanceSpec, asked: core.ResourceRequirements) -> Iterator[core.Container]:
    for volume in spec.volumes:
        disk = volume.container_disk
        if disk is not None:
            arguments = ("--path", disk.path) if disk.path else ()
            policy = disk.image_pull_policy or defaults.pull_policy(disk.image)
            yield _helper(naming.disk_container(volume.name), volume.name, (disk.image, policy), arguments, asked)


def _kernel_boot(spec: v1.VirtualMachineInstanceSpec, asked: core.ResourceRequirements) -> Iterator[core.Container]:
    boot = volumes.kernel_boot_of(spec)
    if boot is None:
        return
    paths = (("--kernel", boot.kernel_path), ("--initrd", boot.initrd_path))
    arguments = tuple(word for option, path in paths if path for word in (option, path))
    policy = boot.image_pull_policy or defaults.pull_policy(boot.image)
    # No user's disk can have this container name: theirs begin with "volume".
    yield _helper(names.KERNEL_BOOT_VOLUME, names.KERNEL_BOOT_VOLUME, (boot.image, policy), arguments, asked)


def _helper(
    name: str, volume: str, image: tuple[str, str], arguments: tuple[str, ...], asked: core.ResourceRequirements
) -> core.Container:
    """``image``: reference and pull policy. No code of the image runs: the command is ours, mounted by Allocate."""
    folder = volumes.disk_folder(volume)
    reference, policy = image
    return core.Container(
        name=name,
        image=reference,
        image_pull_policy=policy,
        command=(names.CONTAINER_DISK_HELPER, "--socket", names.container_disk_socket(volume), *arguments),
        resources=asked,
        volume_mounts=(folder,),
        # A writable root would copy the whole image up at the first open for writing.
        security_context=confined(read_only_root=True),
        termination_message_policy="FallbackToLogsOnError",
    )


def _console_log(
    vmi: v1.VirtualMachineInstance, config: ClusterConfig, launcher_image: str, asked: core.ResourceRequirements
) -> Iterator[core.Container]:
    devices = vmi.spec.domain.devices
    wanted = config.serial_console_log if devices.log_serial_console is None else devices.log_serial_console
    if not wanted or devices.autoattach_serial_console is False:
        return
    yield core.Container(
        name=CONSOLE_LOG,
        image=launcher_image,
        image_pull_policy=config.image_pull_policy,
        command=(names.LOG_TAIL_HELPER, names.serial_log(vmi.metadata.uid), names.LAUNCHER_ALIVE_LOCK),
        resources=asked,
        volume_mounts=(core.VolumeMount(name=volumes.PRIVATE, mount_path=names.PRIVATE_DIR, read_only=True),),
        security_context=confined(read_only_root=True),
    )
