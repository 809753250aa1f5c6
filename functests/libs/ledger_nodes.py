"""What is on the nodes: one shell script in one ``docker exec`` per node, all nodes at once.

Each section of the script's output is the output of one program; nothing is started per process or per pod. The owner
of an item is the pod's UID: from its path, from the cgroup of its processes, or from the network namespace they are in.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

from functests.libs.ledger import Item, Snapshot, uid_in
from functests.libs.nodes import Nodes

SCRIPT = r"""
exec 2>/dev/null
echo @cgroup; cd /sys/fs/cgroup
find kube* memory/kube* systemd/kube* unified/kube* -type d -path '*kubepods*pod*[-_]*[-_]*[-_]*[-_]*'
echo @process; grep -Hm1 '[/-]pod' /proc/[0-9]*/cgroup
echo @argv; head -v -c 200 /proc/[0-9]*/cmdline | tr '\000\n' '\037\n'
echo; echo @inode; stat -L -c '%i %n' /proc/[0-9]*/ns/net
echo @netns; stat -c '%i %n' /run/netns/*
echo @link; ip -o -d link
echo @mount; cat /proc/self/mountinfo
echo @nft
nft list tables | grep -vE ' (nat|mangle|filter|raw|security|kube-proxy)$' | while read -r word family name; do
  echo "$word $family $name"; nft -n list table "$family" "$name" | sed "s/^/  $name: /"; done
echo @loop; grep -H . /sys/block/loop*/loop/backing_file
echo @file; find /var/run/kubevirt* -mindepth 1
echo @pci; cd /sys/bus/pci/devices
find ./*/ -maxdepth 1 -type l '(' -name driver -o -name iommu_group -o -name physfn ')' -printf '%h %f %l\n'
ls /dev/vfio | grep '^[0-9]' | sed 's#^#/dev/vfio/#'
[ ! -d /dev/vfio ] || find /proc/[0-9]*/fd -lname '/dev/vfio/[0-9]*' -printf '%p %l\n'
echo @folder; ls /var/lib/kubelet/pods
echo @log; ls /var/log/pods
echo @end
"""
OURS = re.compile(r"qemu-system|virtqemud|virtlogd|libvirtd|launcher|swtpm|passt")
_CONTAINER = re.compile(r"[0-9a-f]{64}")
_LINK_KIND = re.compile(r" (tun|bridge|veth|macvtap|vxlan|dummy) ")
_LINK_NETNS = re.compile(r"link-netns (\S+)")
_LINK_MASTER = re.compile(r" master (\S+)")
# A virtual function of a network card as `ip` shows it, and what it shows of one that nobody has.
_FUNCTION = re.compile(r"\bvf (\d+)\s+link/ether (\S+) brd \S+([^\\]*)")
_NO_MAC = "00:00:00:00:00:00"
# The node's own.
_PLAIN_LINKS = re.compile(r"(lo|eth\d+|tunl0|sit0|ip6tnl0|gre0|gretap0|erspan0|ip_vti0|ip6_vti0|ip6gre0|dummy0)$")
# The node's own, made anew when it restarts; network namespaces are seen as such.
_PLAIN_MOUNTS = ("/run/netns/", "/run/credentials/", "/sys/", "/proc/", "/dev/")


class TornOutput(RuntimeError):
    """The script did not come to its end."""


def sections(output: str) -> dict[str, list[str]]:
    """Lines by section name."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in output.splitlines():
        if re.fullmatch(r"@[a-z]+", line):
            lines = found.setdefault(line[1:], [])
        elif line.strip():
            lines.append(line)
    if "end" not in found:
        raise TornOutput(f"the look at a node was cut off: {output[-200:]!r}")
    return found


class _Node:
    """One node's output, read: first who is who, then the items."""

    def __init__(self, name: str, output: str) -> None:
        self.name = name
        self.part = sections(output)
        self.containers: dict[str, str] = {}          # container id -> pod UID
        for path in self.part.get("cgroup", []):
            for container in _CONTAINER.findall(path):
                self.containers[container] = uid_in(path)
        self.pids: dict[str, str] = {}                 # pid -> pod UID
        for line in self.part.get("process", []):
            file, _, group = line.partition(":")
            if uid_in(group):
                self.pids[file.split("/")[2]] = uid_in(group)
                for container in _CONTAINER.findall(group):
                    self.containers.setdefault(container, uid_in(group))
        inodes = {}
        for line in self.part.get("inode", []):
            inode, _, file = line.partition(" ")
            uid = self.pids.get(file.split("/")[2])
            if uid:
                inodes[inode] = uid
        self.namespaces: dict[str, str] = {}           # name of a network namespace -> pod UID, "" when nobody is in it
        for line in self.part.get("netns", []):
            inode, _, file = line.partition(" ")
            self.namespaces[file.rsplit("/", 1)[1]] = inodes.get(inode, "")

    def items(self) -> Iterator[tuple[Item, str]]:
        """Each item with its owner, "" when unknown."""
        readers: tuple[Callable[[], Iterator[tuple[str, str, str]]], ...] = (
            self._processes, self._links, self._mounts, self._paths, self._functions,
        )
        for read in readers:
            for kind, name, owner in read():
                yield Item(kind, self.name, name), owner

    def _processes(self) -> Iterator[tuple[str, str, str]]:
        pid = ""
        for line in self.part.get("argv", []):
            head = re.fullmatch(r"==> /proc/(\d+)/cmdline <==", line)
            if head:
                pid = head.group(1)
            elif pid:
                argv = [word for word in line.split("\x1f") if word]
                owner = self.pids.get(pid, "")
                if owner or (argv and OURS.search(argv[0])):
                    yield "process", f"{pid} {' '.join(argv)[:100]}", owner
                pid = ""

    def _links(self) -> Iterator[tuple[str, str, str]]:
        for name, owner in self.namespaces.items():
            yield "network namespace", name, owner
        joined = self._joined()
        for line in self.part.get("link", []):
            name = _link_name(line)
            for number, mac, rest in _FUNCTION.findall(line):
                if mac != _NO_MAC or " vlan " in rest:
                    yield "virtual function", f"{name} {number} {mac}{rest.rstrip()}", ""
            if _PLAIN_LINKS.match(name):
                continue
            found = _LINK_KIND.search(line)
            kind = "tap" if found and found.group(1) == "tun" else found.group(1) if found else "interface"
            yield kind, name, self._inside(line) or joined.get(name, "") or joined.get(_master(line), "")

    def _inside(self, line: str) -> str:
        """The pod in which the other end of a link is, "" when it is in none."""
        inside = _LINK_NETNS.search(line)
        return self.namespaces.get(inside.group(1), "") if inside else ""

    def _joined(self) -> dict[str, str]:
        """Bridges with the pod that is on them, one of several: whose test made the pod has made the bridge."""
        found = {_master(line): self._inside(line) for line in self.part.get("link", []) if self._inside(line)}
        found.pop("", None)
        return found

    def _mounts(self) -> Iterator[tuple[str, str, str]]:
        for line in self.part.get("mount", []):
            place = line.split()[4]
            if place.startswith(_PLAIN_MOUNTS):
                continue
            container = _CONTAINER.search(place)
            owner = self.containers.get(container.group(), "") if container else uid_in(place)
            yield "mount", place, owner

    def _paths(self) -> Iterator[tuple[str, str, str]]:
        for path in self.part.get("cgroup", []):
            # The same group stands in each controller's tree: one item.
            yield "cgroup", path[path.index("kubepods") :], uid_in(path)
        for path in self.part.get("file", []):
            yield "file", path, uid_in(path)
        for name in self.part.get("folder", []):
            yield "pod folder", f"/var/lib/kubelet/pods/{name}", uid_in(name)
        for line in self.part.get("loop", []):
            file, _, backing = line.partition(":")
            yield "loop device", f"{file.split('/')[3]} on {backing}", uid_in(backing)
        for rule in _rules(self.part.get("nft", [])):
            yield "nft", rule, uid_in(rule)

    def _functions(self) -> Iterator[tuple[str, str, str]]:
        """PCI functions that are for guests, by their driver and group; /dev/vfio, and who has which group open."""
        known: dict[str, dict[str, str]] = {}
        for line in self.part.get("pci", []):
            place, _, rest = line.partition(" ")
            name, _, target = rest.partition(" ")
            if place.startswith("./"):
                known.setdefault(place.strip("./"), {})[name] = target.rsplit("/", 1)[-1]
            elif place.startswith("/proc/"):
                pid = place.split("/")[2]
                yield "open VFIO group", f"{rest} in process {pid}", self.pids.get(pid, "")
            else:
                yield "device node", place, ""
        for address, links in known.items():
            driver = links.get("driver", "none")
            if "physfn" in links or driver == "vfio-pci":
                yield "PCI function", f"{address} driver {driver} IOMMU group {links.get('iommu_group', 'none')}", ""

    def pods(self) -> Mapping[str, str]:
        """The kubelet's log folders are called <namespace>_<pod>_<uid>."""
        parts = [name.split("_") for name in self.part.get("log", [])]
        return {words[2]: words[0] for words in parts if len(words) == 3}


def _link_name(line: str) -> str:
    return line.split()[1].rstrip(":").split("@")[0]


def _master(line: str) -> str:
    found = _LINK_MASTER.search(line)
    return found.group(1) if found else ""


def _rules(lines: Iterable[str]) -> Iterator[str]:
    """Rules and elements without what counts and without punctuation that changes with the neighbours."""
    for line in lines:
        text = re.sub(r"counter packets \d+ bytes \d+", "counter", line).strip()
        table, _, body = text.partition(": ")
        for piece in re.split(r",\s*", body) if "elements" not in body else re.split(r",\s*|\{|\}", body):
            words = piece.strip(" {},\t")
            if words and words != "elements =" and table != text:
                yield f"{table}: {words}"
        if not body:
            yield text


def parse(name: str, output: str) -> Snapshot:
    node = _Node(name, output)
    found = list(node.items())
    return Snapshot(
        items=frozenset(item for item, _ in found),
        owners={item: owner for item, owner in found if owner},
        pods=node.pods(),
    )


def look(nodes: Nodes, pool: ThreadPoolExecutor) -> Snapshot:
    """All nodes. Loop devices are the machine's, and every node shows the same."""
    at = time.time()
    every = pool.map(lambda node: parse(node.name, node.try_run(SCRIPT)[1]), nodes)
    return sum(every, Snapshot(at=at))
