"""A tree of files that looks like sysfs with PCI devices, and acts on what is written as the kernel does."""

import shutil
from pathlib import Path

from virt.handler.pci.sysfs import Sysfs

PF, SECOND_PF = "0000:01:00.0", "0000:02:00.0"


class FakeKernel:
    """``root`` is where sysfs is. Virtual functions appear as igb's do: 8086:10ca, every second function number."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.written: list[tuple[str, str]] = []
        self.refuses: dict[str, OSError] = {}              # by name of the file
        self._devices = root / "bus/pci/devices"
        self._devices.mkdir(parents=True)
        (root / "bus/pci/drivers").mkdir()
        self._groups = 10

    @property
    def sysfs(self) -> Sysfs:
        return Sysfs(self.root, self.write)

    def load(self, driver: str) -> None:
        (self.root / "bus/pci/drivers" / driver).mkdir(exist_ok=True)
        if driver == "vfio-pci":
            self._put(self.root / "class/misc/vfio/dev", "10:196")

    def device(
        self, address: str, ids: str = "8086:10c9", *, class_code: str = "020000", driver: str = "", numa: int = -1,
        group: str = "",
    ) -> Path:
        folder = self._devices / address
        folder.mkdir()
        vendor, _, device = ids.partition(":")
        for name, text in (("vendor", f"0x{vendor}"), ("device", f"0x{device}"), ("class", f"0x{class_code}"),
                           ("numa_node", str(numa)), ("driver_override", "(null)")):
            self._put(folder / name, text)
        if not group:
            self._groups += 1
            group = str(self._groups)
        if group != "none":
            (folder / "iommu_group").symlink_to(f"../../../kernel/iommu_groups/{group}")
        if driver:
            self.load(driver)
            self.bound(address, driver)
        return folder

    def card(self, address: str, name: str, *, most: int = 7, state: str = "up", numa: int = -1) -> None:
        """A physical function with a network card."""
        folder = self.device(address, driver="igb", numa=numa)
        for file, text in (("sriov_totalvfs", str(most)), ("sriov_numvfs", "0"), ("sriov_drivers_autoprobe", "1")):
            self._put(folder / file, text)
        self._put(folder / "net" / name / "operstate", state)

    def link(self, address: str, name: str, state: str) -> None:
        self._put(self._devices / address / "net" / name / "operstate", state)

    def bound(self, address: str, driver: str) -> None:
        link = self._devices / address / "driver"
        link.unlink(missing_ok=True)
        link.symlink_to(self.root / "bus/pci/drivers" / driver)
        if driver == "vfio-pci":
            group = (self._devices / address / "iommu_group").readlink().name
            self._put(self.root / "class/vfio" / group / "dev", f"241:{group}")

    def remove(self, address: str) -> None:
        shutil.rmtree(self._devices / address)

    def write(self, path: Path, text: str) -> None:
        """What the product writes."""
        if path.name in self.refuses:
            raise self.refuses[path.name]
        self.written.append((str(path.relative_to(self.root / "bus/pci")), text))
        match path.name:
            case "sriov_numvfs":
                self._count(path.parent, int(text))
            case "drivers_probe":
                override = (self._devices / text / "driver_override").read_text().strip()
                if (self.root / "bus/pci/drivers" / override).exists():
                    self.bound(text, override)
            case "unbind":
                (self._devices / text / "driver").unlink()
            case _:
                path.write_text(text)

    def _count(self, folder: Path, count: int) -> None:
        known = int((folder / "sriov_numvfs").read_text())
        if known and count:
            raise OSError(16, "Device or resource busy")
        if count > int((folder / "sriov_totalvfs").read_text()):
            raise OSError(34, "Numerical result out of range")
        for link in folder.glob("virtfn*"):
            self.remove(link.readlink().name)
            link.unlink()
        numa = int((folder / "numa_node").read_text())
        for number in range(count):
            address = f"{folder.name.partition(':00.')[0]}:{0x10 + number // 4:02x}.{number % 4 * 2}"
            function = self.device(address, "8086:10ca", numa=numa)
            (function / "physfn").symlink_to(f"../{folder.name}")
            (folder / f"virtfn{number}").symlink_to(f"../{address}")
        (folder / "sriov_numvfs").write_text(str(count))

    def _put(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
