"""Hot-plugged claims: the attachment pods that mount them on the guest's node, and how far each one is."""

from virt.controller.vmi.conditions import FAILED_HOTPLUG as FAILED_SYNC
from virt.controller.vmi.hotplug.apply import AttachmentWriter
from virt.controller.vmi.hotplug.plan import attachment_for, plan, volume_status
from virt.controller.vmi.hotplug.pod import is_attachment

__all__ = ["FAILED_SYNC", "AttachmentWriter", "attachment_for", "is_attachment", "plan", "volume_status"]
