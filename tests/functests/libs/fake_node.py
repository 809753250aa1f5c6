"""Output of the ledger's script on a node that does not exist, with what a test plants in it."""

MINE = "11111111-aaaa-4bbb-8ccc-000000000001"
OTHER = "22222222-aaaa-4bbb-8ccc-000000000002"
BOX, OTHER_BOX = "a" * 64, "b" * 64
SLICE = "kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod{}.slice"

QUIET = {
    "cgroup": [],
    "process": [],
    "argv": [],
    "inode": [],
    "netns": [],
    "link": ["1: lo: <LOOPBACK,UP> mtu 65536 link/loopback", "9: eth0@if8: <UP> link/ether 02:42 link-netnsid 0 veth "],
    "mount": ["20 1 0:1 / / rw - overlay overlay rw", "21 20 0:2 / /run rw - tmpfs tmpfs rw"],
    "nft": ["table ip pod-network", "  pod-network: table ip pod-network {", "  pod-network: ip daddr 10.96.0.0 drop"],
    "loop": [],
    "file": ["/var/run/kubevirt/bin", "/var/run/kubevirt/launcher/handler.sock"],
    "pci": [],
    "folder": [],
    "log": ["kube-system_proxy-x_99999999-aaaa-4bbb-8ccc-000000000009"],
}


def output(**planted: list[str]) -> str:
    """What the script prints, with the lines of ``planted`` added to their sections."""
    lines = []
    for name, known in QUIET.items():
        lines += [f"@{name}", *known, *planted.get(name, [])]
    return "\n".join([*lines, "@end"]) + "\n"


def slice_of(uid: str) -> str:
    return SLICE.format(uid.replace("-", "_"))


def alive(uid: str, box: str, pid: int, argv: str, netns: str) -> dict[str, list[str]]:
    """A pod that lives: its process, cgroup and network namespace. ``argv`` has its words apart by spaces."""
    return {
        "cgroup": [f"memory/{slice_of(uid)}", f"memory/{slice_of(uid)}/cri-containerd-{box}.scope"],
        "process": [f"/proc/{pid}/cgroup:4:memory:/{slice_of(uid)}/cri-containerd-{box}.scope"],
        "argv": [f"==> /proc/{pid}/cmdline <==", argv.replace(" ", "\x1f")],
        "inode": [f"40{pid} /proc/{pid}/ns/net"],
        "netns": [f"40{pid} /run/netns/{netns}"],
    }
