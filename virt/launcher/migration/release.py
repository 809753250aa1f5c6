"""When a guest's virtual functions leave it, and when it gets them back: what is seen of them -> a step. Pure.

A guest cannot leave with a piece of its node. KubeVirt: hot unplug before the copy, with a limit, and plug at whichever
side the guest then runs (pkg/virt-launcher/virtwrap, live-migration-source.go and device/hostdevice).
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

RELEASE_S: Final = 30.0         # KubeVirt's limit; a guest that looks for hotplug events lets go within a second or two
TIMED_OUT: Final = "failed to wait for host-devices detach"
_PAUSES_S: Final = (1.0, 2.0, 5.0, 10.0)       # between tries to give one back; the last repeats


@dataclass(frozen=True)
class Release:
    """``ask``: devices that the guest is to be asked for now. ``is_done``: it has let go of all. ``why``: it will not
    be waited for any longer."""

    ask: tuple[str, ...] = ()
    is_done: bool = False
    why: str = ""


def release(
    there: Collection[str], asked: Collection[str], at_s: float, *, given_up: str = "", trouble: str = ""
) -> Release:
    """``there``: functions that the guest still has; ``asked``: those that it was asked for; ``at_s``: seconds since
    the first look. ``given_up``: why nobody wants the migration any more; ``trouble``: what libvirt said last.

    >>> release({"fast"}, (), 0.0)
    Release(ask=('fast',), is_done=False, why='')
    >>> release({"fast"}, {"fast"}, 31.0).why
    'failed to wait for host-devices detach: the guest has not released fast within 30 s'
    """
    if given_up:
        return Release(why=given_up)
    if not there:
        return Release(is_done=True)
    if at_s >= RELEASE_S:
        late = f"the guest has not released {', '.join(sorted(there))} within {RELEASE_S:.0f} s"
        return Release(why=f"{TIMED_OUT}: {late}{f' ({trouble})' if trouble else ''}")
    return Release(ask=tuple(sorted(set(there) - set(asked))))


def to_give(owed: Collection[str], there: Collection[str]) -> tuple[str, ...]:
    """Functions that the guest is to get now. One that it was asked for and still has, it may yet let go of: that one
    stays owed, so that it comes back whenever it goes.

    >>> to_give({"fast", "slow"}, {"slow"})
    ('fast',)
    """
    return tuple(sorted(set(owed) - set(there)))


def pause_s(failures: int) -> float:
    """Before the next try to give functions back, after so many that failed.

    >>> [pause_s(failures) for failures in (1, 2, 9)]
    [1.0, 2.0, 10.0]
    """
    return _PAUSES_S[min(max(failures, 1), len(_PAUSES_S)) - 1]
