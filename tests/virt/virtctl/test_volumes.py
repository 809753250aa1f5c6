"""virtctl addvolume and removevolume, against a server of paper."""

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

import pytest

from virt.virtctl import volumes
from virt.virtctl.errors import CommandError, ServerError


class Served:
    """In place of Server. ``there``: paths that exist; ``denied``: those that may not be read."""

    namespace = "ns"

    def __init__(self, *there: str, denied: tuple[str, ...] = ()) -> None:
        self.there = there
        self.denied = denied
        self.puts: list[tuple[str, Any]] = []
        self.refusal: ServerError | None = None

    def read(self, path: str) -> Any:
        if path in self.denied:
            raise ServerError(403, "forbidden")
        if path not in self.there:
            raise ServerError(404, "not found")
        return {}

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> bytes:
        assert method == "PUT"
        if self.refusal is not None:
            raise self.refusal
        self.puts.append((path, body))
        return b""

    def subresource(self, plural: str, name: str, action: str) -> str:
        return f"{plural}/{name}/{action}"

    def object(self, plural: str, name: str) -> str:
        return f"{plural}/{name}"

    def core(self, plural: str, name: str) -> str:
        return f"{plural}/{name}"


def given(**more: Any) -> Namespace:
    return Namespace(**{
        "name": "vm1", "volume_name": "data", "persist": False, "dry_run": False, "serial": "", "bus": "scsi",
        "disk_type": "disk", "cache": "", **more})


CLAIM, VM = "persistentvolumeclaims/data", "virtualmachines/vm1"
DISK = {"name": "data", "disk": {"bus": "scsi"}, "serial": "data"}


def test_a_vm_gets_it_in_its_template(capsys: pytest.CaptureFixture[str]) -> None:
    served = Served(CLAIM, VM)
    assert volumes.add(served, given()) == 0  # type: ignore[arg-type]
    assert served.puts == [("virtualmachines/vm1/addvolume", {
        "name": "data", "disk": DISK,
        "volumeSource": {"persistentVolumeClaim": {"claimName": "data", "hotpluggable": True}}})]
    assert capsys.readouterr().out == "Successfully submitted add volume request to VM vm1 for volume data\n"


@pytest.mark.parametrize(("there", "persist", "kind"), [
    ((CLAIM,), False, "virtualmachineinstances"), ((CLAIM,), True, "virtualmachines"),
    ((CLAIM, VM), False, "virtualmachines"),
])
def test_an_instance_without_a_vm_gets_it_itself(there: tuple[str, ...], persist: bool, kind: str) -> None:
    served = Served(*there)
    volumes.remove(served, given(persist=persist))  # type: ignore[arg-type]
    assert served.puts == [(f"{kind}/vm1/removevolume", {"name": "data"})]


def test_options_of_the_disk_and_a_dry_run(capsys: pytest.CaptureFixture[str]) -> None:
    served = Served(CLAIM, VM)
    volumes.add(served, given(serial="s1", bus="virtio", cache="none", dry_run=True))  # type: ignore[arg-type]
    body = served.puts[0][1]
    assert body["disk"] == {"name": "data", "disk": {"bus": "virtio"}, "serial": "s1", "cache": "none"}
    assert body["dryRun"] == ["All"]
    assert capsys.readouterr().out.startswith("Dry Run execution\n")


@pytest.mark.parametrize(("options", "said"), [
    ({"volume_name": ""}, 'required flag(s) "volume-name" not set'), ({"bus": "sata"}, "--bus 'sata'"),
    ({"disk_type": "lun", "bus": "virtio"}, "--disk-type lun"), ({"volume_name": "other"}, "other is not a Persist"),
])
def test_what_cannot_be_is_told_before_anything_is_asked(options: dict[str, str], said: str) -> None:
    served = Served(CLAIM, VM)
    with pytest.raises(CommandError) as caught:
        volumes.add(served, given(**options))  # type: ignore[arg-type]
    assert said in str(caught.value)
    assert served.puts == []


def test_who_may_not_read_claims_may_ask_all_the_same() -> None:
    served = Served(VM, denied=(CLAIM,))
    volumes.add(served, given())  # type: ignore[arg-type]
    assert len(served.puts) == 1


def test_the_servers_words_are_passed_on() -> None:
    served = Served(CLAIM, VM)
    served.refusal = ServerError(409, "because it does not exist")
    with pytest.raises(ServerError, match="error removing volume, because it does not exist"):
        volumes.remove(served, given())  # type: ignore[arg-type]
