"""The charts of the verdict page, as SVG: guests per node over time, boot times, memory per node."""

from collections.abc import Iterable, Sequence
from html import escape

from functests.verdict.records import Guest, Memory, Test

WIDTH, LEFT, RIGHT = 1080, 120, 16
ROW, GAP = 12, 3
HEIGHT = 180


_STEPS_S = (5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200)


def moments(seconds: float) -> list[float]:
    """Places on a time axis."""
    step = next((step for step in _STEPS_S if seconds / step <= 10), _STEPS_S[-1])
    return [step * float(number) for number in range(int(seconds / step) + 1)]


def ticks(span: float, count: int = 8) -> list[float]:
    """Round places between 0 and ``span``, at most ``count``."""
    step = next(
        (size * 10**power for power in range(-1, 7) for size in (1, 2, 3, 5, 6) if span / (size * 10**power) <= count),
        span or 1,
    )
    return [step * number for number in range(int(span / step) + 1)]


def _time(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


class _Frame:
    """Time from left to right; ``end`` seconds after ``start``."""

    def __init__(self, start: float, seconds: float, height: float, label: str) -> None:
        self.start, self.seconds, self.height, self.label = start, max(seconds, 1.0), height, label
        self.parts: list[str] = []
        for place in moments(self.seconds):
            x = self.x(start + place)
            self.parts.append(f'<line class="grid" x1="{x:.1f}" y1="0" x2="{x:.1f}" y2="{height}"/>')
            self.parts.append(
                f'<text class="tick" x="{x:.1f}" y="{height + 14}" text-anchor="middle">{_time(place)}</text>'
            )

    def x(self, at: float) -> float:
        share = min(max((at - self.start) / self.seconds, 0.0), 1.0)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def scale(self, top: float, unit: str) -> "_Scale":
        scale = _Scale(self.height, top)
        for value in ticks(top, 4):
            y = scale.y(value)
            self.parts.append(f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>')
            self.parts.append(
                f'<text class="tick" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g} {unit}</text>'
            )
        return scale

    def svg(self) -> str:
        box = f'viewBox="0 -8 {WIDTH} {self.height + 28:.0f}"'
        return f'<svg role="img" aria-label="{escape(self.label)}" {box}>{"".join(self.parts)}</svg>'


class _Scale:
    def __init__(self, height: float, top: float) -> None:
        self._height, self._top = height, top or 1.0

    def y(self, value: float) -> float:
        return self._height - value / self._top * self._height


def lanes(guests: Iterable[Guest]) -> list[list[Guest]]:
    """Guests that do not overlap share a lane."""
    rows: list[list[Guest]] = []
    for guest in sorted(guests, key=lambda one: one.created):
        row = next((row for row in rows if row[-1].last_seen <= guest.created), None)
        if row is None:
            rows.append([guest])
        else:
            row.append(guest)
    return rows


def timeline(guests: Sequence[Guest], start: float, seconds: float) -> str:
    """One band per node; a bar is pale until its guest runs."""
    nodes = {guest.node for guest in guests}
    by_node = {node: lanes(guest for guest in guests if guest.node == node) for node in nodes}
    rows = sum(len(found) for found in by_node.values())
    frame = _Frame(start, seconds, rows * (ROW + GAP) + len(by_node) * 8, "guests on each node over time")
    y = 4.0
    for node in sorted(by_node):
        frame.parts.append(f'<text class="label" x="0" y="{y + ROW - 2}">{escape(node or "no node")}</text>')
        for row in by_node[node]:
            for guest in row:
                frame.parts.append(_bar(frame, guest, y))
            y += ROW + GAP
        y += 8
    return frame.svg()


def _bar(frame: _Frame, guest: Guest, y: float) -> str:
    end = max(guest.last_seen, guest.created)
    running = guest.running or end
    what = f"{guest.namespace}/{guest.name}: {end - guest.created:.0f} s"
    what += f", running after {running - guest.created:.0f} s" if guest.running else ", never seen running"
    parts = [("waits", guest.created, running), ("runs", running, end)]
    shapes = "".join(
        f'<rect class="{kind}" x="{frame.x(since):.1f}" y="{y}" height="{ROW}" rx="2" '
        f'width="{max(frame.x(until) - frame.x(since), 1.5):.1f}"/>'
        for kind, since, until in parts
        if until > since or kind == "waits"
    )
    return f"<g><title>{escape(what)}</title>{shapes}</g>"


def boots(tests: Iterable[Test], start: float, seconds: float) -> str:
    """A dot per guest: when its test began, and how long it took from creation to its shell."""
    dots = [(test, value) for test in tests for value in test.boots]
    frame = _Frame(start, seconds, HEIGHT, "boot times")
    scale = frame.scale(max((value for _, value in dots), default=1.0) * 1.1, "s")
    for test, value in dots:
        frame.parts.append(
            f'<circle class="dot" cx="{frame.x(test.started):.1f}" cy="{scale.y(value):.1f}" r="4">'
            f"<title>{escape(test.id)}: {value:.1f} s</title></circle>"
        )
    return frame.svg()


def memory(samples: Sequence[Memory], start: float, seconds: float) -> str:
    """A line per node, in GiB."""
    frame = _Frame(start, seconds, HEIGHT, "memory of each node over time")
    scale = frame.scale(max((sample.mib for sample in samples), default=1.0) / 1024 * 1.1, "GiB")
    for number, node in enumerate(sorted({sample.node for sample in samples})):
        own = [sample for sample in samples if sample.node == node]
        points = " ".join(f"{frame.x(sample.at):.1f},{scale.y(sample.mib / 1024):.1f}" for sample in own)
        frame.parts.append(
            f'<polyline class="line l{number % 6}" points="{points}"><title>{escape(node)}</title></polyline>'
        )
    return frame.svg()
