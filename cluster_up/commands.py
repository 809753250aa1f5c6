"""What the verbs of the command line do, apart from printing."""

import shutil
import sys
import time
from ipaddress import IPv4Network
from pathlib import Path

import msgspec
import yaml

from cluster_up import doctor as doctors
from cluster_up import engine, later, leftovers, lock, paths, progress
from cluster_up import exec as host
from cluster_up import logs as collecting
from cluster_up import state as states
from cluster_up import status as statuses
from cluster_up.actions import host_cards, plan
from cluster_up.actions.step import Run
from cluster_up.config.types import Config
from cluster_up.errors import ConfigError, DoctorFailed, ForeignCluster, NoCluster, StepFailed
from cluster_up.exec import Log
from cluster_up.images import registry
from cluster_up.kube import Kube
from cluster_up.machines import room
from cluster_up.providers.api import Existence, Provider
from cluster_up.providers.choice import machines_of, missing_machines, provider_of
from cluster_up.providers.kind import KindProvider
from cluster_up.state import State

_FIRST_VM = Path(__file__).with_name("first-vm.yaml")
_FIXED = ("workers", "pod_cidr", "service_cidr", "kubernetes_version")


def up(config: Config, *, until: str | None, force: bool) -> None:
    """Every step of ``up`` that is not done yet."""
    folder = paths.cluster_folder(config.name)
    with lock.held(config.name):
        # Whatever is refused is refused before anything is made.
        state = states.read(config.name) or State(name=config.name)
        _refuse_changes(config, state)
        if not state.kubeconfig:
            if not force:
                _refuse_unfit_machine()
            _refuse_foreign(config.name)
        if not force:
            _refuse_lack_of_memory(config)
        leftovers.sweep()
        _up(config, state, folder, until)


def _up(config: Config, state: State, folder: Path, until: str | None) -> None:
    with progress.reporter(folder / "up.log") as report:
        started = time.monotonic()
        state = msgspec.structs.replace(state, machines=machines_of(config))
        run = Run(config, state, provider_of(state, report.detail), report)
        plan.run_steps(plan.until(plan.UP, until), run)
        took = progress.seconds_text(time.monotonic() - started)
        if until is not None:
            report.line(f"cluster {config.name!r}: every step up to {until} is done after {took}")
            return
        report.line(f"cluster {config.name!r} is up after {took}")
        report.line(f"  export KUBECONFIG={run.state.kubeconfig}")
        if later.start(run.state):
            names = ", ".join(later.missing(run.state))
            report.line(f"  still building in the background, see guests.log: {names}")


def sync(name: str) -> None:
    """Images, operator, roll-out; every one only where something changed."""
    with lock.held(name), progress.reporter(paths.cluster_folder(name) / "up.log") as report:
        state = _known(name)
        started = time.monotonic()
        worked = plan.run_steps(plan.SYNC, Run(_config_of(state), state, provider_of(state, report.detail), report))
        took = progress.seconds_text(time.monotonic() - started)
        report.line(f"cluster {name!r} has the newest code after {took}" if worked else f"nothing to do ({took})")


def guests(name: str) -> None:
    """The guest images that ``up`` leaves for later. No lock is held while they are made."""
    with progress.reporter() as report:
        later.make(_known(name), report.line)


def down(name: str) -> None:
    """Whatever there is of the cluster, complete or not. Raises ForeignCluster for one that is not ours."""
    provider = provider_of(State(name=name))
    folder = paths.cluster_folder(name)
    with lock.held(name), progress.reporter() as report:
        engine.info()
        leftovers.sweep()
        existence = provider.existence()
        if existence is Existence.FOREIGN and not folder.exists():
            raise ForeignCluster(f"the cluster {name!r} was not made by this command")
        if existence is Existence.ABSENT and not folder.exists() and not registry.exists(name, provider.network):
            report.line(f"no cluster {name!r}: nothing to do")
            return
        with report.step(f"taking cluster {name!r} away", None):
            later.stop(name)
            if existence is not Existence.FOREIGN:
                _take_away(name, provider, report.detail)
            registry.remove(name, provider.network)
            shutil.rmtree(folder, ignore_errors=True)


def _take_away(name: str, provider: Provider, log: Log) -> None:
    """The nodes; cards of this machine that they have come back. Their network namespaces give them back when they end,
    so nodes that were killed are no other case."""
    try:
        state = states.read(name)
    except states.StateError:
        state = None                # nobody knows what they were like: they come back by themselves
    provider.delete()
    if state is not None and state.cards:
        host_cards.give_back(state.cards, host_cards.MachineShell(state.node_image), log)


def first_vm(name: str) -> int:
    """A small VM in the namespace ``default``, and this terminal on its console; returns the console's exit code."""
    state = _known(name)
    image = state.guest_images.get("tiny", {}).get("reference")
    if image is None:
        raise StepFailed(f"cluster {name!r} has no guest image yet", hint="`up` builds it")
    Kube(Path(state.kubeconfig)).apply(yaml.safe_load_all(_FIRST_VM.read_text().replace("@IMAGE@", image)))
    virtctl = Path(sys.executable).with_name("virtctl")
    return host.attach([virtctl, "--kubeconfig", state.kubeconfig, "--namespace", "default", "console", "first"])


def status(name: str) -> statuses.Status:
    state = _known(name)
    engine.info()
    return statuses.look(state, provider_of(state))


def doctor() -> list[doctors.Check]:
    return doctors.checks()


def logs(name: str, folder: Path) -> Path:
    state = _known(name)
    provider = provider_of(state)
    engine.info()
    return collecting.collect(state, provider, Kube(provider.kubeconfig), folder)


def shell(name: str, node: str) -> int:
    provider = provider_of(states.read(name) or State(name=name))
    engine.info()
    names = [view.name for view in provider.nodes()]
    if node not in names:
        there = ", ".join(names) or "none"
        raise ConfigError([f"command line: {node!r} is no node of cluster {name!r}; there are: {there}"])
    return provider.shell(node)


def kubeconfig(name: str) -> str:
    return _known(name).kubeconfig


def _known(name: str) -> State:
    state = states.read(name)
    if state is None or not state.kubeconfig:
        others = [other for other in states.names() if other != name]
        raise NoCluster(f"there is no cluster {name!r}" + (f"; there are: {', '.join(others)}" if others else ""))
    return state


def _config_of(state: State) -> Config:
    return Config(
        name=state.name, workers=state.workers, kubernetes_version=state.kubernetes_version,
        pod_cidr=IPv4Network(state.pod_cidr), service_cidr=IPv4Network(state.service_cidr),
        machines=len(state.machines),
    )  # fmt: skip


def _refuse_changes(config: Config, state: State) -> None:
    """What a running cluster cannot change."""
    if not state.kubeconfig:
        return
    faults = [
        f"{field}: cluster {config.name!r} has {getattr(state, field)}, asked for {getattr(config, field)}; "
        "allowed: the same, or `down` first"
        for field in _FIXED
        if str(getattr(state, field)) != str(getattr(config, field))
    ]
    if config.registry_port not in (0, state.registry_port):
        faults.append(f"registry_port: cluster {config.name!r} has {state.registry_port}, asked for "
                      f"{config.registry_port}; allowed: the same or 0, or `down` first")  # fmt: skip
    wanted = {machine.number: machine for machine in machines_of(config)}
    faults += [
        f"machine_memory, machine_cpus, machine_cards: machine {known.number} of cluster {config.name!r} has "
        f"{known.memory_mib}Mi, {known.cpus} and {known.cards}; allowed: the same, or `up --machines 0` first"
        for known in state.machines
        if wanted.get(known.number, known) != known
    ]
    if faults:
        raise ConfigError(faults)


def _refuse_lack_of_memory(config: Config) -> None:
    """Machines that do not fit would not be refused by anybody, but end in the middle of a test, or end others."""
    missing = missing_machines(config)
    if missing and (lack := room.lack(missing, room.available_mib())):
        raise DoctorFailed(lack)


def _refuse_foreign(name: str) -> None:
    """Where no engine runs yet, there is no cluster of anybody's."""
    if engine.fault() is None and KindProvider(name).existence() is Existence.FOREIGN:
        raise ForeignCluster(f"there is a cluster {name!r} already that was not made by this command")


def _refuse_unfit_machine() -> None:
    bad = [check for check in doctors.quick() if check.verdict == "fail"]
    if bad:
        raise DoctorFailed("\n".join(check.text() for check in bad))
