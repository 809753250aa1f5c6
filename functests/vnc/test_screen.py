"""The guest's screen, keyboard and pointer, against what the guest itself draws and gets."""

import secrets
import struct

import pytest

from functests.libs import build, guest, patience, png
from functests.libs.cluster import Cluster
from functests.libs.console import Console
from functests.libs.kube import Space
from functests.libs.rest import VMI, subresource_path
from functests.libs.vnc import Screen, Vnc

TEXT_MODE = (720, 400)
CLEAR = "printf '\\033[2J\\033[H\\033[?25l' > /dev/tty1"       # and no blinking cursor: a still screen
FILLED = "printf '\\033[44m\\033[2J\\033[H' > /dev/tty1"            # a blue background in all cells
MOST, LEFT = 0x7FFF, 1
EV_KEY, EV_ABS, BTN_LEFT = 1, 3, 0x110


def _screenshot(space: Space) -> Screen:
    answer = space.rest.fetch(subresource_path(VMI, space.name, "vm", "vnc/screenshot"))
    assert (answer.code, answer.kind) == (200, "image/png"), answer
    return png.decoded(answer.data)


def _blue(screen: Screen) -> float:
    """Share of pixels that are blue and nothing else; how bright is the business of the card's palette."""
    blue, green, red = (screen.pixels[place::4] for place in range(3))
    count = sum(b > 0x80 and not g and not r for b, g, r in zip(blue, green, red, strict=True))
    return count / (screen.width * screen.height)


@pytest.mark.demand(seconds=40)
@pytest.mark.case("VNC-006")
@pytest.mark.case("VNC-007")
@pytest.mark.case("VNC-011")
def test_a_screenshot_is_the_screen(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a guest in text mode.
    Steps: take two screenshots of a still screen; fill it with a colour and take another; take five while a VNC client
        is connected; pause the guest, look at both, and unpause it.
    Expected: PNG of 720x400; the two are equal; the third shows the colour; the client stays and gets updates; a paused
        guest shows its last picture; updates flow afterwards.
    """
    _, shell = space.boot(build.disk_boot_vmi(cluster, "vm"))
    shell.succeed(CLEAR)
    still = patience.eventually(
        "the screen stands still", lambda: (_screenshot(space), _screenshot(space)), lambda seen: seen[0] == seen[1]
    )
    assert (still[0].width, still[0].height) == TEXT_MODE
    shell.succeed(FILLED)
    filled = patience.eventually(
        "the screen is blue", lambda: _screenshot(space), lambda seen: _blue(seen) > 0.9, every_s=0.5
    )
    assert filled.difference(still[0]) > 0.9

    with Vnc(space.rest, space.name, "vm") as vnc:
        assert vnc.screen().difference(filled) < 0.1
        for _ in range(5):
            assert _blue(_screenshot(space)) > 0.9
        shell.succeed(CLEAR.replace("\\033[2J", "\\033[0m\\033[2J"))
        cleared = patience.eventually(
            "the client sees the next picture", vnc.screen, lambda seen: seen.difference(filled) > 0.9
        )
        assert cleared.difference(filled) > 0.9

        space.act_on_vmi("vm", "pause").ok()
        space.wait_condition("vm", "Paused", "True")
        assert _screenshot(space).difference(cleared) < 0.1
        assert vnc.screen().difference(cleared) < 0.1
        space.act_on_vmi("vm", "unpause").ok()
        space.wait_condition("vm", "Paused", "")
        shell.login(within_s=patience.boots(1)).succeed(FILLED)
        again = patience.eventually("updates flow", vnc.screen, lambda seen: _blue(seen) > 0.9)
        assert _blue(again) > 0.9


def _pointer_events(shell: Console) -> list[tuple[int, int, int]]:
    """(type, code, value) of what the tablet's reader has written: struct input_event of a 64-bit kernel."""
    data = bytes.fromhex(shell.succeed("xxd -p /run/pointer | tr -d '\\n'"))
    return [struct.unpack_from("<16xHHi", data, place) for place in range(0, len(data) // 24 * 24, 24)]


def _clicks(events: list[tuple[int, int, int]]) -> list[tuple[int, int]]:
    """Where the left button went down, in the tablet's own units; each press must be followed by its release."""
    place = {0: -1, 1: -1}
    found, down = [], False
    for kind, code, value in events:
        if kind == EV_ABS and code in place:
            place[code] = value
        elif (kind, code) == (EV_KEY, BTN_LEFT):
            assert bool(value) != down, f"the button is pressed or released twice: {events}"
            down = bool(value)
            if down:
                found.append((place[0], place[1]))
    assert not down, f"the button is never released: {events}"
    return found


@pytest.mark.demand(seconds=30)
@pytest.mark.case("VNC-004")
@pytest.mark.case("VNC-005")
def test_keys_and_pointer_reach_the_guest(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a guest with a tablet on virtio, a reader on the virtual terminal that is shown, and one on the
        tablet.
    Steps: type letters of both cases, digits, signs and Return, each when the one before has arrived; click at four
        corners and the centre.
    Expected: the reader gets exactly that line; the tablet reports each place within 1 %, with one press and one
        release.
    """
    tablet = {"inputs": [{"name": "pen", "type": "tablet", "bus": "virtio"}]}
    manifest = build.merged(build.disk_boot_vmi(cluster, "vm"), {"spec": {"domain": {"devices": tablet}}})
    _, shell = space.boot(manifest)
    guest.load(shell, "evdev")
    shell.succeed("grep -l 'Virtio Tablet' /sys/class/input/event*/device/name | cut -d/ -f5 > /run/pen")
    shell.succeed("test -s /run/pen && { cat /dev/input/$(cat /run/pen) > /run/pointer & }")
    # Not tty1: a shell reads there. Without lines, so that each key arrives by itself.
    shell.succeed("{ cat < /dev/tty2 > /run/typed & }; stty -F /dev/tty2 -icanon -echo && chvt 2")
    line = f"Ab1!_{secrets.token_hex(4)}\n"
    with Vnc(space.rest, space.name, "vm") as vnc:
        for count, character in enumerate(line, 1):
            vnc.type(character)
            patience.eventually(
                f"{character!r} arrives", lambda: int(shell.succeed("wc -c < /run/typed")),
                lambda seen: seen >= count,  # noqa: B023 - called in this round only
                every_s=0.05,
            )  # fmt: skip
        typed = bytes.fromhex(shell.succeed("xxd -p /run/typed | tr -d '\\n'")).decode()
        assert typed == line

        width, height = vnc.width, vnc.height
        places = [(0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1), (width // 2, height // 2)]
        for x, y in places:
            vnc.pointer(x, y)
            vnc.pointer(x, y, buttons=LEFT)
            vnc.pointer(x, y)
        events = patience.eventually(
            "all clicks are there", lambda: _pointer_events(shell),
            lambda seen: sum((kind, code) == (EV_KEY, BTN_LEFT) for kind, code, _ in seen) >= 2 * len(places),
        )  # fmt: skip
    clicks = _clicks(events)
    wanted = [(x * MOST / (width - 1), y * MOST / (height - 1)) for x, y in places]
    near = [
        abs(seen[0] - there[0]) <= MOST / 100 and abs(seen[1] - there[1]) <= MOST / 100
        for seen, there in zip(clicks, wanted, strict=True)
    ]
    assert all(near), f"{clicks} instead of {wanted}"
