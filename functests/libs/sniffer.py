"""What really goes over a node's link: all frames of its interface, searched for words.

The program runs in the node's own network, with the Python of the node's virt-handler: nodes have none themselves. It
ends when a frame with the stop word comes, which the test sends to it; so no process has to be found and ended.
"""

import contextlib
import json
import secrets
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from functests.libs import patience
from functests.libs.nodes import Node
from functests.libs.stack import Stack

LONGEST_S = 240
_PROGRAM = """
import json, socket, sys, time
link, word, stop, longest = sys.argv[1], sys.argv[2].encode(), sys.argv[3].encode(), float(sys.argv[4])
ends, spoken = time.monotonic() + longest, 0.0
frames = seen = hits = 0
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as s:
    s.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)       # SO_RCVBUFFORCE
    s.bind((link, 0))
    s.settimeout(1)
    while (now := time.monotonic()) < ends:
        if now - spoken > 10:               # whoever says nothing for long is given up
            spoken = now
            print("listening", flush=True)
        try:
            frame = s.recv(1 << 17)
        except TimeoutError:
            continue
        if stop in frame:
            break
        frames, seen, hits = frames + 1, seen + len(frame), hits + frame.count(word)
print(json.dumps({"frames": frames, "bytes": seen, "hits": hits}))
"""


@dataclass
class Catch:
    """``found`` is there behind the block: frames, bytes, and how often the word was in them."""

    found: dict[str, int] = field(default_factory=dict)


@contextlib.contextmanager
def listening(stack: Stack, node: Node, sender: Node, word: str, *, link: str = "eth0") -> Iterator[Catch]:
    """Inside the block. ``sender``: another node, which sends the stop word over the link."""
    _, handler = stack.process(stack.handler(node.name))
    address = next(each["address"] for each in stack.node(node.name)["status"]["addresses"]
                   if each["type"] == "InternalIP")
    stop = secrets.token_hex(12)

    def sockets() -> int:
        return int(node.run("wc -l < /proc/net/packet"))

    def run() -> str:
        argv = " ".join((link, word, stop, str(LONGEST_S)))
        return node.run(f"nsenter -t {handler.pid} -m python3 - {argv} <<'PROGRAM'\n{_PROGRAM}\nPROGRAM")

    before, catch = sockets(), Catch()
    with ThreadPoolExecutor(1) as thread:
        work: Future[str] = thread.submit(run)
        try:
            patience.eventually(
                "the link is listened to", sockets, lambda count: count > before, stop=lambda _: work.done())
            yield catch
        finally:
            patience.eventually(
                "the listener has ended",
                lambda: (sender.try_run(f"bash -c 'echo {stop} > /dev/udp/{address}/9'"), work.done())[1],
                bool, within_s=LONGEST_S, every_s=0.5)
        catch.found = json.loads(work.result().strip().splitlines()[-1])
