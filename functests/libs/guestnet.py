"""A guest's network as tests use it: wait for the lease, serve, read what the guest counts."""

from functests.libs import patience
from functests.libs.console import Console
from functests.libs.kube import Object, Space

# Answers each line with the same line; prints the peer on the serial console.
SERVE = "(witness tcp-echo {port} > /tmp/echo-{port}.log 2>&1 &)"


def addressed(shell: Console) -> None:
    """Until the guest's eth0 has its lease: the route is what the DHCP client sets last."""
    patience.eventually(
        "the guest has an address and a route",
        lambda: shell.run("ip -4 route show default dev eth0").out,
        lambda text: "via" in text,
        within_s=patience.boots(1),
    )


def lease_given_up(link: str, folder: str = "/run") -> str:
    """Script: what asks for a lease on the link has begun, and is over. It takes away all addresses when it begins, and
    the guest may not have come that far when its shell answers. A client that goes to the background is another one."""
    return (f"f={folder}/udhcpc.{link}.pid; until [ -s $f ]; do sleep 1; done; "
            "while kill $(cat $f 2> /dev/null) 2> /dev/null; do sleep 1; done")


def join(shell: Console, link: str, address: str, *, within_s: float | None = None) -> None:
    """Give the guest's link an address with prefix, and wait for its carrier. Nobody serves DHCP there."""
    shell.succeed(
        f"{lease_given_up(link)}; ip link set {link} up; ip addr replace {address} dev {link}",
        within_s=within_s or patience.boots(1))
    patience.eventually(
        f"carrier of {link}", lambda: shell.succeed(f"cat /sys/class/net/{link}/carrier", within_s=within_s),
        lambda seen: seen == "1", within_s=within_s)


def serve(shell: Console, *ports: int) -> None:
    """An echo server on each TCP port, which listens when this returns; the peers are in /tmp/echo-PORT.log."""
    for port in ports:
        shell.succeed(SERVE.format(port=port))
        shell.succeed(f"until netstat -tln | grep -q ':{port} '; do usleep 50000; done")


def serve_no_more(shell: Console) -> None:
    """The guest is as it was before :func:`serve`."""
    shell.succeed("killall witness; rm /tmp/echo-*.log")


def peers(shell: Console, port: int) -> list[str]:
    """Addresses of those who connected to :func:`serve`."""
    lines = shell.succeed(f"cat /tmp/echo-{port}.log").splitlines()
    return [line.split()[1] for line in lines if line.startswith("peer ")]


def counter(shell: Console, protocol: str, name: str) -> int:
    """A counter of the guest's kernel in /proc/net/snmp, "Udp" "NoPorts"."""
    heads, values = (line.split() for line in shell.succeed(f"grep ^{protocol}: /proc/net/snmp").splitlines()[-2:])
    return int(values[heads.index(name)])


def address(space: Space, name: str) -> str:
    """The VMI's address as its status tells it."""
    return str(interface(space, name)["ipAddress"])


def interface(space: Space, name: str) -> Object:
    """The first interface of the VMI's status, when it is there with its address."""
    def told(vmi: Object) -> bool:
        found = vmi["status"].get("interfaces") or [{}]
        return bool(found[0].get("ipAddress"))

    return dict(space.wait_vmi(name, told, "has an address")["status"]["interfaces"][0])
