"""Files and devices behind a VMI's volumes, made ready for QEMU. Nothing here is deleted: all of it goes with the
pod, or is a claim's.

``container`` belongs to the launcher's long-lived process, which holds what disk containers gave; ``prepare`` and the
rest to the short-lived one that drafts the domain (virt.launcher.drafting). So nothing is imported here.
"""
