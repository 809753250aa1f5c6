"""A leak of each kind, planted in what a node says."""

import pytest

from functests.libs.ledger import Claim, Item, judge
from functests.libs.ledger_nodes import TornOutput, parse
from tests.functests.libs.fake_node import BOX, MINE, OTHER, OTHER_BOX, alive, output, slice_of

NODE = "n1"


_CARD = (
    "4: pf1: <UP> mtu 1500 \\    link/ether 52:54:00:76:01:01 brd ff:ff:ff:ff:ff:ff promiscuity 0 "
    "\\    vf 0     link/ether 00:00:00:00:00:00 brd ff:ff:ff:ff:ff:ff, spoof checking on, trust off"
    "\\    vf 1     link/ether {} brd ff:ff:ff:ff:ff:ff{}, spoof checking on, trust off"
)


def mine() -> Claim:
    return Claim(agent="functests-x", uids={MINE})


@pytest.mark.parametrize(
    ("planted", "kind", "name"),
    [
        (alive(MINE, BOX, 77, "/usr/bin/qemu-system-x86_64 -name guest=ns_vm", "cni-1"), "process",
         "77 /usr/bin/qemu-system-x86_64 -name guest=ns_vm"),
        (alive(MINE, BOX, 77, "/usr/sbin/libvirtd --config x", "cni-1"), "process", "77 /usr/sbin/libvirtd --config x"),
        (alive(MINE, BOX, 77, "sleep 1000", "cni-1"), "network namespace", "cni-1"),
        ({**alive(MINE, BOX, 77, "x", "cni-1"), "link": ["8: veth9@if2: <UP> link-netns cni-1 veth addrgen"]},
         "veth", "veth9"),
        ({**alive(MINE, BOX, 77, "x", "cni-1"), "link": [
            "7: br10: <UP> link/ether 02:00 promiscuity 0 bridge forward_delay",
            "8: veth9@if2: <UP> master br10 link-netns cni-1 veth bridge_slave addrgen"]}, "bridge", "br10"),
        ({**alive(MINE, BOX, 77, "x", "cni-1"), "link": [
            "8: veth9@if2: <UP> master br10 link-netns cni-1 veth bridge_slave addrgen",
            "9: vx7: <UP> master br10 link/ether 02:00 promiscuity 1 vxlan id 7"]}, "vxlan", "vx7"),
        ({"cgroup": [f"unified/{slice_of(MINE)}"]}, "cgroup",
         slice_of(MINE)[slice_of(MINE).index("kubepods") :]),
        ({"mount": [f"30 20 0:9 / /var/lib/kubelet/pods/{MINE}/volumes/a rw - tmpfs tmpfs rw"]}, "mount",
         f"/var/lib/kubelet/pods/{MINE}/volumes/a"),
        ({"file": [f"/var/run/kubevirt/networks/{MINE}.json"]}, "file", f"/var/run/kubevirt/networks/{MINE}.json"),
        ({"folder": [MINE]}, "pod folder", f"/var/lib/kubelet/pods/{MINE}"),
        ({"loop": [f"/sys/block/loop3/loop/backing_file:/var/lib/kubelet/pods/{MINE}/disk.img"]}, "loop device",
         f"loop3 on /var/lib/kubelet/pods/{MINE}/disk.img"),
        ({"nft": [f'  pod-network: ip saddr 10.244.1.9 comment "{MINE}" accept']}, "nft",
         f'pod-network: ip saddr 10.244.1.9 comment "{MINE}" accept'),
    ],
)
def test_what_the_test_left_is_its_own(planted: dict[str, list[str]], kind: str, name: str) -> None:
    left = judge(parse(NODE, output()), parse(NODE, output(**planted)), mine())
    assert Item(kind, NODE, name) in left.mine, left
    assert not left.unclear, left


@pytest.mark.parametrize(
    ("planted", "kind", "name"),
    [
        ({"link": ["8: tap0: <UP> link/ether 02:00 promiscuity 1 tun type tap pi off"]}, "tap", "tap0"),
        ({"link": [_CARD.format("de:ad:00:00:be:ef", ", vlan 100")]}, "virtual function",
         "pf1 1 de:ad:00:00:be:ef vlan 100, spoof checking on, trust off"),
        ({"link": [_CARD.format("00:00:00:00:00:00", ", vlan 100")]}, "virtual function",
         "pf1 1 00:00:00:00:00:00 vlan 100, spoof checking on, trust off"),
        ({"pci": ["./0000:01:10.0/ iommu_group ../../../kernel/iommu_groups/14",
                  "./0000:01:10.0/ physfn ../0000:01:00.0"]}, "PCI function",
         "0000:01:10.0 driver none IOMMU group 14"),
        ({"pci": ["./0000:07:00.0/ driver ../../../bus/pci/drivers/vfio-pci",
                  "./0000:07:00.0/ iommu_group ../../../kernel/iommu_groups/3"]}, "PCI function",
         "0000:07:00.0 driver vfio-pci IOMMU group 3"),
        ({"pci": ["/dev/vfio/14"]}, "device node", "/dev/vfio/14"),
        ({"pci": ["/proc/66/fd/31 /dev/vfio/14"]}, "open VFIO group", "/dev/vfio/14 in process 66"),
        ({"link": ["8: k6t-eth0: <UP> link/ether 02:00 promiscuity 0 bridge forward_delay"]}, "bridge", "k6t-eth0"),
        ({"link": ["9: vx7: <UP> master br10 link/ether 02:00 promiscuity 1 vxlan id 7"]}, "vxlan", "vx7"),
        ({"netns": ["4099 /run/netns/cni-dead"]}, "network namespace", "cni-dead"),
        ({"nft": ["table ip kubevirt-left"]}, "nft", "table ip kubevirt-left"),
        ({"nft": ["  pod-network: elements = { 10.244.1.7, 10.244.1.8 }"]}, "nft", "pod-network: 10.244.1.7"),
        ({"mount": ["30 20 0:9 / /mnt/left rw - tmpfs tmpfs rw"]}, "mount", "/mnt/left"),
        ({"file": ["/var/run/kubevirt/left"]}, "file", "/var/run/kubevirt/left"),
        ({"loop": ["/sys/block/loop3/loop/backing_file:/left.img"]}, "loop device", "loop3 on /left.img"),
        ({"argv": ["==> /proc/66/cmdline <==", "/usr/bin/qemu-system-x86_64\x1f-S"]}, "process",
         "66 /usr/bin/qemu-system-x86_64 -S"),
    ],
)
def test_what_shows_no_owner_is_unclear(planted: dict[str, list[str]], kind: str, name: str) -> None:
    left = judge(parse(NODE, output()), parse(NODE, output(**planted)), mine())
    assert Item(kind, NODE, name) in left.unclear, left
    assert not left.mine, left


def test_who_has_a_group_open_is_known_by_its_process() -> None:
    living = alive(MINE, BOX, 77, "/usr/bin/qemu-system-x86_64", "cni-1")
    left = judge(parse(NODE, output()), parse(NODE, output(**living, pci=["/proc/77/fd/31 /dev/vfio/14"])), mine())
    assert Item("open VFIO group", NODE, "/dev/vfio/14 in process 77") in left.mine


def test_devices_of_the_node_itself_are_nobodys() -> None:
    found = parse(NODE, output(pci=["./0000:00:01.0/ driver ../../../bus/pci/drivers/virtio-pci"]))
    assert found.items == parse(NODE, output()).items


def test_a_neighbours_pod_is_not_blamed_on_this_test() -> None:
    beside = alive(OTHER, OTHER_BOX, 88, "/usr/bin/qemu-system-x86_64 -S", "cni-2")
    beside["mount"] = [f"31 20 0:9 / /run/containerd/k8s.io/{OTHER_BOX}/rootfs rw - overlay overlay rw"]
    beside["link"] = ["8: veth8@if2: <UP> link-netns cni-2 promiscuity 0 veth addr"]
    left = judge(parse(NODE, output()), parse(NODE, output(**beside)), mine())
    assert left.mine == left.unclear == frozenset()


def test_what_stays_of_a_pod_is_known_from_the_time_when_it_lived() -> None:
    living = alive(MINE, BOX, 77, "/pause", "cni-1")
    rootfs = f"31 20 0:9 / /run/containerd/k8s.io/{BOX}/rootfs rw - overlay overlay rw"
    claim = mine()
    claim.learn(parse(NODE, output(**living, mount=[rootfs])))
    left = judge(parse(NODE, output()), parse(NODE, output(mount=[rootfs], netns=["4077 /run/netns/cni-1"])), claim)
    assert {item.kind for item in left.mine} == {"mount", "network namespace"}
    assert not left.unclear


def test_pods_of_the_tests_namespace_are_found_by_their_log_folders() -> None:
    claim = Claim(namespaces={"ft-mine"})
    left = judge(
        parse(NODE, output()), parse(NODE, output(log=[f"ft-mine_virt-launcher-vm-x_{MINE}"], folder=[MINE])), claim
    )
    assert [item.kind for item in left.mine] == ["pod folder"]


def test_counters_do_not_make_a_rule_new() -> None:
    first = parse(NODE, output(nft=["  pod-network: counter packets 1 bytes 60 accept"]))
    second = parse(NODE, output(nft=["  pod-network: counter packets 2 bytes 120 accept"]))
    assert first.items == second.items


def test_a_look_that_was_cut_off_is_no_look() -> None:
    with pytest.raises(TornOutput):
        parse(NODE, output().removesuffix("@end\n"))


def test_a_function_that_nobody_has_is_no_leak() -> None:
    quiet = output(link=[_CARD.format("00:00:00:00:00:00", "")])
    assert not [item for item in parse(NODE, quiet).items if item.kind == "virtual function"]
