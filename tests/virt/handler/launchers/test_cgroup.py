import pytest

from virt.handler.launchers.cgroup import pod_uid

UID = "0b8b2a3c-5f0e-4a5b-9d0c-1f2e3d4c5b6a"
OTHER = "99999999-5f0e-4a5b-9d0c-1f2e3d4c5b6a"
_UNDERSCORED = UID.replace("-", "_")


@pytest.mark.parametrize("cgroup", [
    f"0::/kubepods/burstable/pod{UID}/3f2a\n",
    f"0::/kubepods/pod{UID}/3f2a\n",
    f"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{_UNDERSCORED}.slice/cri-containerd-3f.scope\n",
    f"0::/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{_UNDERSCORED}.slice/cri-containerd-3f.scope\n",
    f"12:pids:/docker/8ad/kubelet/kubepods/besteffort/pod{UID}/3f\n11:memory:/docker/8ad/kubelet/kubepods/besteffort/pod{UID}/3f\n"
    "1:name=systemd:/docker/8ad/init.scope\n",
    f"0::/../../burstable/pod{UID}/3f2a\n",
    f"0::/kubepods/burstable/pod{OTHER}/8ad/kubelet/kubepods/burstable/pod{UID}/3f\n",
])
def test_the_pod_is_found_in_every_spelling(cgroup: str) -> None:
    assert pod_uid(cgroup) == UID


@pytest.mark.parametrize("cgroup", [
    "", "0::/\n", "0::/system.slice/docker.service\n",
    f"2:cpu:/kubepods/pod{UID}/a\n1:memory:/kubepods/pod{OTHER}/a\n",
    f"0::/kubepods/xpod{UID}/a\n", f"0::/kubepods/pod{UID}0/a\n", "0::/kubepods/burstable/pod../a\n",
])
def test_what_names_no_single_pod_is_no_pod(cgroup: str) -> None:
    assert pod_uid(cgroup) is None
