"""Bodies of subresources.kubevirt.io: what actions take and what questions get back.

All fields of the options are optional, so an empty body means all defaults; ``dry_run`` is ("All",) or empty.
"""

from collections.abc import Mapping

from virt.api.v1.devices import Disk
from virt.api.v1.volume import DataVolumeSource, PersistentVolumeClaimVolumeSource
from virt.api.wire import Wire, always

# --- options ---


class DryRun(Wire):
    dry_run: tuple[str, ...] = ()

    @property
    def is_dry_run(self) -> bool:
        return "All" in self.dry_run


class StartOptions(DryRun):
    """``paused``: create the guest and do not start it."""

    paused: bool = False


class StopOptions(DryRun):
    """``grace_period``: seconds; None leaves the VMI's own."""

    grace_period: int | None = None


class RestartOptions(DryRun):
    """``grace_period_seconds``: None, or 0 to kill the guest at once; anything else is refused."""

    grace_period_seconds: int | None = None


class MigrateOptions(DryRun):
    added_node_selector: Mapping[str, str] = {}


class PauseOptions(DryRun):
    """Options of pause."""


class UnpauseOptions(DryRun):
    """Options of unpause."""


class VolumeSource(Wire):
    """What a volume that is added has for its content."""

    persistent_volume_claim: PersistentVolumeClaimVolumeSource | None = None
    data_volume: DataVolumeSource | None = None


class AddVolumeOptions(DryRun):
    """``name``: of the volume and of its disk. All but ``dry_run`` has to be given."""

    name: str = ""
    disk: Disk | None = None
    volume_source: VolumeSource | None = None


class RemoveVolumeOptions(DryRun):
    name: str = ""


class FreezeUnfreezeTimeout(Wire):
    """``unfreeze_timeout``: a duration as text, "5m0s"; the guest thaws by itself after it."""

    unfreeze_timeout: str | None = None


class EvacuateCancelOptions(DryRun):
    evacuation_node_name: str = ""


class GuestfsInfo(Wire):
    """Answer of guestfs: where the image for libguestfs-tools would be, of the installation's own registry and tag."""

    registry: str = always("")
    tag: str = always("")
    image_prefix: str = always("")
    gs_image: str = always("")


class VersionInfo(Wire):
    """Answer of version. ``go_version`` and ``compiler`` are there because clients print them."""

    git_version: str = always("")
    git_commit: str = always("")
    git_tree_state: str = always("")
    build_date: str = always("")
    go_version: str = always("")
    compiler: str = always("")
    platform: str = always("")
