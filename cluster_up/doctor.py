"""What this machine has and lacks. Each check looks, changes nothing, and says what to do."""

import os
import resource
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from cluster_up import cards, engine, kvm, limits, paths
from cluster_up.actions import requirements
from cluster_up.config.types import Config
from cluster_up.errors import EngineError, EngineHung
from cluster_up.images import golang, programs
from cluster_up.machines import room
from cluster_up.machines.model import MOST_MACHINES

_LEAST_DISK_GIB = 12
_LEAST_MEMORY_GIB = 6
_GOOD_MEMORY_GIB = 12
_LEAST_FILES = 4096
_ENGINE_DATA = Path("/var/lib/docker")       # where Docker keeps images unless it is told otherwise


@dataclass(frozen=True)
class Check:
    """``verdict`` is "ok", "warn" (slower, or something is left out) or "fail" (a cluster cannot run)."""

    name: str
    verdict: str
    value: str
    fix: str = ""

    def document(self) -> dict[str, str]:
        return asdict(self)

    def text(self) -> str:
        return f"{self.verdict:4}  {self.name}: {self.value}" + (f"\n      {self.fix}" if self.fix else "")


def graded(name: str, amount: float, unit: str, *, least: float, good: float, fix: str) -> Check:
    """A check of an amount: below ``least`` fails, below ``good`` warns. Pure."""
    verdict = "fail" if amount < least else "warn" if amount < good else "ok"
    bound = f"at least {least:.0f}" if verdict == "fail" else f"better {good:.0f}"
    advice = "" if verdict == "ok" else f"{fix} ({bound} {unit})"
    return Check(name, verdict, f"{amount:.0f} {unit}", advice)


def _disk() -> Check:
    """The fullest of the file systems that take cache, state and the engine's images."""
    places = [_existing(place) for place in (paths.cache_root(), paths.state_root(), _ENGINE_DATA)]
    place = min(places, key=lambda one: shutil.disk_usage(one).free)
    return graded("disk", shutil.disk_usage(place).free / 2**30, "GiB free", least=_LEAST_DISK_GIB,
                  good=2 * _LEAST_DISK_GIB, fix=f"make room on the file system of {place}")  # fmt: skip


def _existing(place: Path) -> Path:
    """The folder itself or the nearest one above it that is there."""
    while not place.exists():
        place = place.parent
    return place


def _memory() -> Check:
    amount = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return graded("memory", amount, "GiB", least=_LEAST_MEMORY_GIB, good=_GOOD_MEMORY_GIB, fix="run fewer guests")


def _cpus() -> Check:
    return graded("cpus", os.cpu_count() or 1, "CPUs", least=2, good=4, fix="everything works on two, but slowly")


def _open_files() -> Check:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    amount = 2**20 if hard == resource.RLIM_INFINITY else hard
    return graded("open files", amount, "files", least=_LEAST_FILES, good=_LEAST_FILES, fix="raise `ulimit -Hn`")


def _limits() -> Check:
    low = limits.too_low(limits.current())
    if not low:
        return Check("kernel limits", "ok", ", ".join(f"{name}={value}" for name, value in limits.current().items()))
    fix = f"{'`up` does' if limits.can_raise() else 'as root'}: {limits.command(low)}"
    return Check("kernel limits", "warn" if limits.can_raise() else "fail", f"too low: {', '.join(low)}", fix)


def _engine() -> Check:
    try:
        found = engine.info()
    except EngineHung as error:
        return Check("engine", "fail", str(error), error.hint)
    except EngineError as error:
        can_start = os.geteuid() == 0 and "permission denied" not in str(error)
        fix = "`up` installs and starts Docker" if can_start else error.hint
        return Check("engine", "warn" if can_start else "fail", str(error), fix)
    unfit = engine.unfit(found, wrapper_needed=engine.needs_wrapper())
    if unfit is not None:
        return Check("engine", "fail", str(unfit), unfit.hint)
    return Check("engine", "ok", f"Docker {found['ServerVersion']}, runtime {found.get('DefaultRuntime')}")


def _programs() -> Check:
    missing = requirements.missing()
    if not missing:
        return Check("programs", "ok", "all there")
    packages = " ".join(requirements.packages_of(missing))
    can_install = os.geteuid() == 0 and shutil.which("apt-get") is not None
    fix = f"`up` installs {packages}" if can_install else f"apt-get install {packages}"
    return Check("programs", "warn" if can_install else "fail", f"missing: {', '.join(missing)}", fix)


def _go() -> Check:
    if golang.present() is None:
        return Check("go", "warn", "no Go 1.26.8 or newer in PATH", f"`up` fetches {golang.VERSION} into the cache")
    return Check("go", "ok", programs.go_version())


def _cgroups() -> Check:
    if Path("/sys/fs/cgroup/cgroup.controllers").exists():
        return Check("cgroups", "ok", "v2")
    return Check("cgroups", "warn", "v1", "works; Kubernetes is told not to refuse it. A newer system boots with v2")


def _kvm() -> Check:
    if not Path("/dev/kvm").exists():
        return Check("kvm", "warn", "no /dev/kvm", "guests run under emulation (TCG): correct, several times slower")
    if kvm.is_usable():
        return Check("kvm", "ok", "a guest booted")
    return Check("kvm", "warn", "not usable: no guest boots on /dev/kvm", "guests run under emulation (TCG)")


def _cards() -> Check:
    return virtual_functions(cards.present(), vfio=cards.has_vfio())


def virtual_functions(found: Sequence[cards.Card], *, vfio: bool) -> Check:
    """Pure: what a person has to do before guests can have functions. A machine without such cards lacks nothing."""
    if not found:
        return Check("sr-iov", "ok", "no card has virtual functions")
    value = ", ".join(f"{card.name or card.address}: {card.most}" for card in found)
    if not any(card.most for card in found):
        return Check("sr-iov", "warn", f"firmware allows no virtual functions ({value})",
                       "switch SR-IOV on in the machine's setup, or with the card's own tool")
    if not all(card.is_apart for card in found):
        return Check("sr-iov", "warn", f"no IOMMU, so no guest can have a virtual function ({value})",
                       "switch VT-d or AMD-Vi on in the machine's setup, and boot with intel_iommu=on iommu=pt")
    crowded = [card for card in found if card.sharing]
    if crowded:
        told = ", ".join(f"{card.name or card.address} with {card.sharing}" for card in crowded)
        return Check("sr-iov", "warn", f"cards share their IOMMU group with other devices: {told} ({value})",
                       "put the card into another slot; its functions may be in groups of their own all the same")
    if not vfio:
        return Check("sr-iov", "warn", f"vfio-pci is not loaded ({value})", "as root: modprobe vfio-pci")
    return Check("sr-iov", "ok", f"virtual functions {value}")


def _machines() -> Check:
    """What a worker that is a virtual machine needs (docs/sriov-lane.md)."""
    if not Path("/dev/net/tun").exists():
        return Check("machines", "warn", "no /dev/net/tun", "as root: modprobe tun; only LANE=sriov needs it")
    return room_for_machines(room.available_mib(), f"KVM {'runs' if kvm.is_usable() else 'does not run'} guests")


def room_for_machines(free_mib: int, about: str) -> Check:
    """Pure: how many of them this computer has the memory for now."""
    size = Config().machine_memory_mib
    count = min(free_mib // room.needed_mib(size), MOST_MACHINES)
    text = f"{about}, {free_mib / 1024:.1f} GiB of memory available: room for {count} of {size}Mi (LANE=sriov)"
    if count == 0:
        return Check("machines", "warn", text, "stop something, or a smaller one: VIRT_CLUSTER_MACHINE_MEMORY")
    return Check("machines", "ok", text)


_QUICK: tuple[Callable[[], Check], ...] = (_cpus, _memory, _disk, _open_files, _limits, _go, _programs, _engine)


def quick() -> list[Check]:
    """The checks that ``up`` makes before it creates anything."""
    return [check() for check in _QUICK]


def checks() -> list[Check]:
    return [*quick(), _cgroups(), _kvm(), _cards(), _machines()]
