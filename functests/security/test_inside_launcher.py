"""What somebody inside a launcher pod could reach: devices, secrets of others, files of disks."""

import base64
import hashlib
import json
import secrets

import pytest
import urllib3

from functests.libs import build, channels, patience
from functests.libs.cluster import Cluster
from functests.libs.kube import Space
from functests.libs.nodes import Node, Nodes, Process
from functests.libs.rest import core_path

# Tries what a broken launcher could try, and prints {what: "done", or the error's name}.
_TRIES = """
import errno, fcntl, json, os, socket, struct
found = {"devices": sorted(os.listdir("/dev"))}

def attempt(what, act):
    try:
        act()
        found[what] = "done"
    except OSError as error:
        found[what] = errno.errorcode.get(error.errno, str(error))

def tap(name):
    fd = os.open("/dev/net/tun", os.O_RDWR)
    try:
        fcntl.ioctl(fd, 0x400454CA, struct.pack("16sH22x", name, 0x5002))
    finally:
        os.close(fd)

os.makedirs("/tmp/made", exist_ok=True)
for name, major, minor in (("disk", 8, 0), ("loop", 7, 0), ("mem", 1, 1), ("kmsg", 1, 11)):
    attempt("mknod " + name, lambda: os.mknod("/tmp/made/" + name, 0o600 | 0o060000, os.makedev(major, minor)))
for path in ("/dev/mem", "/dev/kmsg", "/dev/sda", "/dev/vda", "/dev/loop0", "/dev/fuse"):
    attempt("open " + path, lambda: os.close(os.open(path, os.O_RDONLY)))
attempt("new tap", lambda: tap(b"mine0"))
attempt("guest's tap", lambda: tap(b"tap0"))
attempt("node's network", lambda: os.setns(os.open("/proc/1/ns/net", os.O_RDONLY), 0x40000000))
attempt("new network", lambda: os.unshare(0x40000000))
attempt("raw socket", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3).close())
print(json.dumps(found), flush=True)
"""
# What the runtime gives to every container, and the tun device that the guest's network needs.
_DEVICES = {
    "core", "fd", "full", "mqueue", "net", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout",
    "termination-log", "tty", "urandom", "zero", "console", "kvm",
}  # fmt: skip
_TOKEN = "eyJ[A-Za-z0-9_-]{10,}[.][A-Za-z0-9_-]{10,}[.]"


def _tokens(node: Node, processes: list[Process]) -> str:
    """Files below a process's root, and environments, that hold what looks like a token; no disks (1 MiB and more)."""
    places = []
    for process in processes:
        root = f"/proc/{process.pid}/root"
        script = (
            f"find {root}/etc {root}/run {root}/tmp {root}/var -xdev -type f -size -1M 2>/dev/null "
            f"| xargs -r grep -lE '{_TOKEN}' 2>/dev/null; grep -alE '{_TOKEN}' /proc/{process.pid}/environ; "
            f"for m in $(awk '{{print $5}}' /proc/{process.pid}/mountinfo | grep -E '^/(var|run|etc)'); do "
            f"find {root}$m -xdev -type f -size -1M 2>/dev/null | xargs -r grep -lE '{_TOKEN}' 2>/dev/null; done; true"
        )
        places.append(node.run(script))
        # Not /var/run: an absolute link there leads into the node's own.
        places.append(node.run(f"ls {root}/run/secrets 2>/dev/null; true"))
    return "".join(places).strip()


@pytest.mark.case("SEC-005")
@pytest.mark.case("SEC-006")
def test_a_launcher_has_its_tap_and_nothing_more(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: an ordinary running VMI with a container disk and cloud-init.
    Steps: as the launcher's user inside compute make device nodes, open devices of the node, make taps, enter networks;
        on the node look for tokens in files and environments of all the pod's processes.
    Expected: only the runtime's devices, tun, and kvm where it is used; everything is refused, the guest's own tap is
        in use; no token and no /var/run/secrets anywhere.
    """
    manifest = build.with_disk(
        build.kernel_boot_vmi(cluster, "vm"), "root", {"containerDisk": {"image": cluster.image("tiny")}})
    manifest = build.with_disk(manifest, "seed", {"cloudInitNoCloud": {"userData": "#cloud-config\n"}})
    vmi, shell = space.boot(manifest)
    pod = space.pod(vmi)
    found = json.loads(channels.succeed(space, pod, "python3", "-c", _TRIES))
    devices = set(found.pop("devices"))
    assert devices <= _DEVICES, sorted(devices - _DEVICES)
    allowed = dict.fromkeys(found, ("EPERM", "EACCES", "ENOENT")) | {"guest's tap": ("EBUSY", "EPERM", "EINVAL")}
    wrong = {name: answer for name, answer in found.items() if answer not in allowed[name]}
    assert not wrong, wrong
    assert len(found) == 15, found

    node = nodes[vmi["status"]["nodeName"]]
    mine = [process for process in node.processes(pod["metadata"]["uid"])
            if not (process.argv and process.argv[0].endswith("/pause"))]  # fmt: skip
    assert len(mine) > 3, mine
    assert _tokens(node, mine) == ""
    assert shell.succeed("ls /sys/class/net").split() == ["eth0", "lo"]


def _bearer(space: Space, token: str, path: str, body: object = None) -> tuple[int, str]:
    """Code and text of a request with a token instead of the administrator's credentials."""
    settings = space.rest.api.configuration
    pool = urllib3.PoolManager(ca_certs=settings.ssl_ca_cert)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    answer = pool.request("POST" if body else "GET", settings.host + path, headers=headers, timeout=20,
                          body=json.dumps(body) if body else None)  # fmt: skip
    return answer.status, answer.data.decode(errors="replace")


@pytest.mark.case("SEC-002")
@pytest.mark.case("SEC-006")
@pytest.mark.case("SEC-038")
@pytest.mark.case("AGT-021")
def test_configuration_reaches_the_guest_and_nobody_else(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a namespace that enforces the restricted standard; a configMap, a secret with every byte, a service
        account that may do nothing.
    Steps: boot a VM with these, downwardAPI labels, cloud-init, a claim and an empty disk; read all in the guest; use
        the token; read modes of the images in the pod; stop the VM and look for the secret's text on the node.
    Expected: four ISOs by serial, label cfgdata, each file its source; the token is that account's and may do nothing;
        no image is readable by others, all are 107's; afterwards the text is nowhere on the node.
    """
    canary, every = secrets.token_hex(24), bytes(range(256))
    text = {"key": "value of the map\n", "other.conf": "x" * 5000}
    space.rest.post(core_path("configmaps", space.name), {"metadata": {"name": "map"}, "data": text}).ok()
    hidden = {"metadata": {"name": "hidden"}, "stringData": {"canary": canary},
              "data": {"every": base64.b64encode(every).decode()}}  # fmt: skip
    space.rest.post(core_path("secrets", space.name), hidden).ok()
    space.rest.post(core_path("serviceaccounts", space.name), {"metadata": {"name": "nobody"}}).ok()
    space.rest.post(core_path("persistentvolumeclaims", space.name), build.pvc("data")).ok()
    labels = {"fields": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}
    sources: dict[str, build.Manifest] = {
        "map": {"configMap": {"name": "map"}}, "hidden": {"secret": {"secretName": "hidden"}},
        "labels": {"downwardAPI": labels}, "account": {"serviceAccount": {"serviceAccountName": "nobody"}},
    }  # fmt: skip
    manifest = build.merged(build.kernel_boot_vmi(cluster, "vm"), {"metadata": {"labels": {"app": "told"}}})
    for name, source in sources.items():
        manifest = build.with_disk(manifest, name, source, serial=f"sn-{name}")
    manifest = build.with_disk(manifest, "seed", {"cloudInitNoCloud": {"userData": f"#cloud-config\n# {canary}\n"}})
    manifest = build.with_disk(manifest, "data", {"persistentVolumeClaim": {"claimName": "data"}})
    manifest = build.with_disk(manifest, "empty", {"emptyDisk": {"capacity": "16Mi"}})
    vmi, shell = space.boot(build.vm_of(manifest))
    assert "FailedCreate" not in space.reasons("vm")

    for name in sources:
        find = f"for d in /sys/block/vd*; do [ \"$(cat $d/serial)\" = sn-{name} ] && echo ${{d##*/}}; done; true"
        device = shell.succeed(find)
        assert 'LABEL="cfgdata"' in shell.succeed(f"blkid /dev/{device}"), name
        shell.succeed(f"mkdir -p /tmp/{name} && mount -t iso9660 -o ro /dev/{device} /tmp/{name}")
    wanted = {f"map/{key}": value.encode() for key, value in text.items()}
    wanted |= {"hidden/canary": canary.encode(), "hidden/every": every}
    for path, content in wanted.items():
        assert shell.succeed(f"sha256sum < /tmp/{path}").split()[0] == hashlib.sha256(content).hexdigest(), path
    assert shell.succeed("ls /tmp/map /tmp/hidden /tmp/account").split() == [
        "/tmp/account:", "ca.crt", "namespace", "token", "/tmp/hidden:", "canary", "every", "/tmp/map:", "key",
        "other.conf",
    ]  # fmt: skip
    assert 'app="told"' in shell.succeed("cat /tmp/labels/labels")
    assert shell.succeed("cat /tmp/account/namespace") == space.name

    token = shell.succeed("cat /tmp/account/token")
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    code, said = _bearer(space, token, "/apis/authentication.k8s.io/v1/selfsubjectreviews", review)
    assert code == 201, said
    assert json.loads(said)["status"]["userInfo"]["username"] == f"system:serviceaccount:{space.name}:nobody"
    assert _bearer(space, token, core_path("secrets", space.name))[0] == 403

    pod = space.pod(vmi)
    node = nodes[vmi["status"]["nodeName"]]
    qemu = node.qemu(pod["metadata"]["uid"]).pid
    folder = f"/proc/{qemu}/root/run/kubevirt-ephemeral-disks"
    images = node.run(f"find {folder} -name '*.iso' -exec stat -c '%n %u %a' {{}} +")
    listed = [line.split()[1:] for line in images.splitlines()]
    assert len(listed) == 5, images
    assert all(owner == "107" and int(mode, 8) & 0o027 == 0 for owner, mode in listed), images

    since = f"/tmp/{space.name}"
    node.run(f"touch -d '-30 minutes' {since}")
    assert space.act_on_vm("vm", "stop").code == 202
    space.wait_vmi_gone("vm", within_s=patience.boots(1))
    search = (
        f"find /var/lib/kubelet/pods /run/containerd /var/lib/containerd /var/run/kubevirt /tmp -type f -newer {since} "
        f"-size -20M 2>/dev/null | xargs -r grep -l {canary} 2>/dev/null; true"
    )
    left = patience.eventually(
        "the pod's folder is gone", lambda: node.run(f"ls -d /var/lib/kubelet/pods/{pod['metadata']['uid']}; true"),
        lambda seen: "No such file" in seen, within_s=patience.promised(60),
    )  # fmt: skip
    assert "No such file" in left
    found = node.run(search).strip()
    node.run(f"rm -f {since}")
    assert found == "", f"the secret's text is still in {found}"
