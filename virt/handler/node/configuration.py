"""The cluster's configuration as this node sees it, and what a launcher is told of the node."""

from collections.abc import Callable
from pathlib import Path

from virt.api import v1
from virt.api.clusterconfig import ClusterConfig, effective
from virt.rpc.messages import HostFacts


class Configuration:
    """Follows the KubeVirt CR through an informer's :meth:`changed`; ``on_change`` is called after each change."""

    def __init__(self, on_change: Callable[[], None] = lambda: None, kvm_device: Path = Path("/dev/kvm")) -> None:
        self.current = ClusterConfig()
        self.on_change = on_change
        self._kvm_device = kvm_device

    def changed(self, _: v1.KubeVirt | None, after: v1.KubeVirt | None) -> None:
        found = effective(after)
        if found != self.current:
            self.current = found
            self.on_change()

    def kvm(self) -> bool:
        """Whether guests run on KVM here: the device is there, and the cluster was not told to emulate
        (docs/decisions/0051-handler.md)."""
        return not self.current.use_emulation and self._kvm_device.exists()

    def facts(self) -> HostFacts:
        config = self.current
        return HostFacts(
            kvm=self.kvm(),
            cluster_cpu_model=config.cpu_model,
            smbios_manufacturer=config.smbios_manufacturer,
            smbios_family=config.smbios_family,
            smbios_product=config.smbios_product,
            smbios_version=config.smbios_version,
            smbios_sku=config.smbios_sku,
            balloon_stats_period_s=config.mem_balloon_stats_period_s,
            free_page_reporting=config.free_page_reporting,
            serial_log=config.serial_console_log,
        )
