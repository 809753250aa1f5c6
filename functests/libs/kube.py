"""Objects of one test: create, read, act, wait."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from functests.libs import patience
from functests.libs.build import Manifest
from functests.libs.console import Console
from functests.libs.rest import VM, VMI, Answer, Rest, core_path, kubevirt_path, subresource_path
from functests.libs.slots import SLOTS

Object = Mapping[str, Any]
FINAL = ("Succeeded", "Failed")


def condition(obj: Object, kind: str) -> Object:
    """The condition of that type, or {}."""
    known = obj.get("status", {}).get("conditions") or []        # null on what was just created
    found = [entry for entry in known if entry["type"] == kind]
    return found[0] if found else {}


def phases(vmi: Object) -> list[str]:
    """All phases the VMI went through, in order."""
    return [entry["phase"] for entry in vmi.get("status", {}).get("phaseTransitionTimestamps", [])]


def is_running(vmi: Object) -> bool:
    return bool(vmi.get("status", {}).get("phase") == "Running")


def is_final(vmi: Object) -> bool:
    return vmi.get("status", {}).get("phase") in FINAL


def boots_when_created(manifest: Manifest) -> bool:
    """A VMI does; a VM when its strategy starts it."""
    if manifest["kind"] == "VirtualMachineInstance":
        return True
    spec = manifest["spec"]
    return bool(spec.get("running")) or spec.get("runStrategy") in ("Always", "RerunOnFailure", "Once")


@dataclass
class Space:
    """One namespace and everything a test does in it."""

    rest: Rest
    name: str
    opened: list[Console] = field(default_factory=list)
    boots: list[float] = field(default_factory=list)        # seconds from creating a guest to its shell

    # --- VMs and VMIs ---

    def create(self, manifest: Manifest) -> Object:
        """Create a VM or VMI; the answer must be 201."""
        plural = {"VirtualMachine": VM, "VirtualMachineInstance": VMI}[manifest["kind"]]
        if boots_when_created(manifest):
            self._boots(manifest["metadata"]["name"])
        return self.rest.post(kubevirt_path(plural, self.name), manifest).ok()

    def _boots(self, name: str) -> None:
        """A guest is about to boot: that takes a core, of which there are only so many (slots.py)."""
        SLOTS.take(f"{self.name}/{name}", for_s=1.5 * patience.boot_s())

    def try_create(self, manifest: Manifest, *, version: str = "v1", dry_run: bool = False) -> Answer:
        plural = {"VirtualMachine": VM, "VirtualMachineInstance": VMI}[manifest["kind"]]
        query = "?dryRun=All" if dry_run else ""
        return self.rest.post(kubevirt_path(plural, self.name, version=version) + query, manifest)

    def vm(self, name: str) -> Object:
        return self.rest.get(kubevirt_path(VM, self.name, name)).ok()

    def vmi(self, name: str) -> Object:
        return self.rest.get(kubevirt_path(VMI, self.name, name)).ok()

    def get_vmi(self, name: str) -> Object | None:
        """None when there is none."""
        answer = self.rest.get(kubevirt_path(VMI, self.name, name))
        return None if answer.code == 404 else answer.ok()

    def get_vm(self, name: str) -> Object | None:
        answer = self.rest.get(kubevirt_path(VM, self.name, name))
        return None if answer.code == 404 else answer.ok()

    def patch_vm(self, name: str, patch: object, content_type: str = "application/merge-patch+json") -> Answer:
        return self.rest.patch(kubevirt_path(VM, self.name, name), patch, content_type)

    def delete_vm(self, name: str, options: object = None) -> Answer:
        return self.rest.delete(kubevirt_path(VM, self.name, name), options)

    def delete_vmi(self, name: str) -> Answer:
        return self.rest.delete(kubevirt_path(VMI, self.name, name))

    def act_on_vm(self, name: str, verb: str, body: object = None) -> Answer:
        if verb in ("start", "restart"):
            self._boots(name)
        return self.rest.put(subresource_path(VM, self.name, name, verb), body)

    def act_on_vmi(self, name: str, verb: str, body: object = None, *, version: str = "v1") -> Answer:
        return self.rest.put(subresource_path(VMI, self.name, name, verb, version=version), body)

    # --- waits ---

    def wait_vmi(
        self,
        name: str,
        ready: Callable[[Object], bool],
        what: str,
        *,
        within_s: float | None = None,
        may_end: bool = False,
    ) -> Object:
        """Until ``ready(vmi)``. A VMI that ends, or is gone, stops the wait at once unless ``may_end``."""

        def over(vmi: Object | None) -> bool:
            return not may_end and vmi is not None and is_final(vmi)

        seen = patience.eventually(
            f"VMI {name}: {what}",
            lambda: self.get_vmi(name),
            lambda vmi: vmi is not None and ready(vmi),
            within_s=within_s,
            stop=over,
        )
        assert seen is not None
        return seen

    def wait_vm(
        self, name: str, ready: Callable[[Object], bool], what: str, *, within_s: float | None = None
    ) -> Object:
        return patience.eventually(f"VM {name}: {what}", lambda: self.vm(name), ready, within_s=within_s)

    def wait_running(self, name: str, *, not_uid: str = "", within_s: float | None = None) -> Object:
        """Until a VMI of that name (with another uid than ``not_uid``) runs."""

        def over(vmi: Object | None) -> bool:
            return vmi is not None and vmi["metadata"]["uid"] != not_uid and is_final(vmi)

        seen = patience.eventually(
            f"VMI {name} runs",
            lambda: self.get_vmi(name),
            lambda vmi: vmi is not None and vmi["metadata"]["uid"] != not_uid and is_running(vmi),
            within_s=within_s,
            stop=over,
        )
        assert seen is not None
        return seen

    def wait_vmi_gone(self, name: str, *, within_s: float | None = None) -> None:
        patience.eventually(
            f"VMI {name} is gone", lambda: self.get_vmi(name), lambda vmi: vmi is None, within_s=within_s
        )

    def wait_vm_status(self, name: str, status: str, *, within_s: float | None = None) -> Object:
        return self.wait_vm(
            name,
            lambda vm: vm.get("status", {}).get("printableStatus") == status,
            f"status {status}",
            within_s=within_s,
        )

    def wait_condition(self, name: str, kind: str, status: str, *, within_s: float | None = None) -> Object:
        """Until the VMI's condition ``kind`` is ``status``; "" waits until it is absent."""
        return self.wait_vmi(
            name,
            lambda vmi: condition(vmi, kind).get("status", "") == status,
            f"condition {kind} {status or 'absent'}",
            within_s=within_s,
        )

    # --- guest ---

    def console(self, name: str, *, version: str = "v1", rest: Rest | None = None, **upgrade: Any) -> Console:
        """A console, opened by ``rest`` when given, that the namespace fixture closes. ``upgrade``: as open_socket."""
        console = Console(rest or self.rest, self.name, name, version=version, **upgrade)
        self.opened.append(console)
        return console

    def shell(self, name: str, *, boots: float = 1) -> Console:
        """A console on which a shell has answered."""
        try:
            return self.console(name).login(within_s=patience.boots(boots))
        finally:
            SLOTS.give(f"{self.name}/{name}")

    def boot(self, manifest: Manifest) -> tuple[Object, Console]:
        """Create a VM or VMI, wait until it runs and its shell answers. Returns the VMI and the console."""
        started = time.monotonic()
        self.create(manifest)
        name = manifest["metadata"]["name"]
        vmi = self.wait_running(name)
        shell = self.shell(name)
        self.boots.append(time.monotonic() - started)
        return vmi, shell

    # --- what belongs to a VMI ---

    def pods(self, vmi: Object) -> list[Object]:
        selector = f"kubevirt.io%3Dvirt-launcher,kubevirt.io/created-by%3D{vmi['metadata']['uid']}"
        answer = self.rest.get(core_path("pods", self.name) + f"?labelSelector={selector}")
        return list(answer.ok()["items"])

    def pod(self, vmi: Object) -> Object:
        """The one launcher pod that is not finished."""
        live = [pod for pod in self.pods(vmi) if pod["status"].get("phase") not in FINAL]
        assert len(live) == 1, f"expected one launcher pod, found {[pod['metadata']['name'] for pod in live]}"
        return live[0]

    def events(self, name: str, kind: str | None = None) -> list[Object]:
        """Events about the object ``name``, oldest first."""
        items = self.rest.get(core_path("events", self.name)).ok()["items"]
        mine = [
            event
            for event in items
            if event["involvedObject"].get("name") == name and kind in (None, event["involvedObject"].get("kind"))
        ]
        return sorted(mine, key=lambda event: event.get("firstTimestamp") or event["metadata"]["creationTimestamp"])

    def reasons(self, name: str, kind: str | None = None) -> list[str]:
        return [event["reason"] for event in self.events(name, kind)]

    def wait_events(
        self, name: str, reason: str, kind: str | None = None, *, within_s: float | None = None
    ) -> list[Object]:
        """Those with that reason, oldest first, once there is one: components write them behind the status that they
        tell of."""
        return patience.eventually(
            f"an event {reason} of {name}",
            lambda: [event for event in self.events(name, kind) if event["reason"] == reason],
            bool, within_s=within_s,
        )  # fmt: skip

    def wait_reasons(self, name: str, kind: str, *wanted: str) -> list[str]:
        """Until there is an event of each wanted reason."""
        return patience.eventually(
            f"events {', '.join(wanted)} of {name}", lambda: self.reasons(name, kind),
            lambda found: set(wanted) <= set(found),
        )  # fmt: skip
