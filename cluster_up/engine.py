"""Docker on this machine: is it fit for nodes, and start it where nothing else does.

In a container or sandbox without some capabilities plain ``--privileged`` fails, and nobody starts daemons. There
dockerd is started here, with a wrapper before runc that asks for what the machine can give (recipes/engine/capbnd).
"""

import json
import os
from pathlib import Path
from typing import Any

from cluster_up import exec as host
from cluster_up import paths
from cluster_up.errors import EngineError, EngineHung
from cluster_up.exec import Log
from cluster_up.images.recipe import RECIPES
from virt.base import waiting

_INFO_S = 15.0         # the whole command is to say so within 20 s
_START_S = 180.0
_OLDEST = 20
_CAPABILITIES = 41                # of Linux 5.9 and later: CAP_CHECKPOINT_RESTORE is number 40


def lacks_capabilities(status: str) -> bool:
    """Whether the bounding set in the text of /proc/self/status lacks any capability.

    >>> lacks_capabilities("CapBnd:\\t000001fffeffffff")
    True
    """
    line = next(line for line in status.splitlines() if line.startswith("CapBnd:"))
    everything = (1 << _CAPABILITIES) - 1
    return int(line.split()[1], 16) & everything != everything


def daemon_config(*, wrapper: Path | None, has_systemd: bool) -> dict[str, Any]:
    """dockerd's configuration where we start it. ``wrapper`` stands before runc where capabilities are missing."""
    config: dict[str, Any] = {}
    if not has_systemd:
        config["exec-opts"] = ["native.cgroupdriver=cgroupfs"]
    if wrapper is not None:
        config["runtimes"] = {"capbnd": {"path": str(wrapper)}}
        config["default-runtime"] = "capbnd"
    return config


def needs_wrapper() -> bool:
    return lacks_capabilities(Path("/proc/self/status").read_text())


def info() -> dict[str, Any]:
    """What the engine says of itself. Raises EngineError in one sentence, EngineHung after 30 s without an answer."""
    try:
        done = host.run(["docker", "info", "--format", "{{json .}}"], deadline_s=_INFO_S, check=False)
    except host.RunError as error:
        if error.timed_out:
            raise EngineHung(f"Docker takes requests but does not answer within {_INFO_S:.0f} s") from error
        raise EngineError("Docker is not installed") from error
    found: dict[str, Any] = json.loads(done.stdout or "{}")
    if not found.get("ServerVersion"):
        said = " ".join((found.get("ServerErrors") or [done.stderr or "no answer"])[0].split())
        refused = "permission denied" in said
        hint = "add yourself to the group docker, or run as root" if refused else "start it: dockerd"
        raise EngineError(f"Docker does not answer: {said}", hint=hint)
    return found


def unfit(found: dict[str, Any], *, wrapper_needed: bool) -> EngineError | None:
    """Why a running engine cannot hold nodes; None when it can. Pure."""
    version = str(found["ServerVersion"])
    if int(version.partition(".")[0]) < _OLDEST:
        return EngineError(f"Docker {version} is too old", hint=f"install Docker {_OLDEST} or newer")
    if wrapper_needed and found.get("DefaultRuntime") == "runc":
        return EngineError(
            "this machine lacks capabilities that privileged containers ask for, and Docker's runtime is plain runc",
            hint="stop that dockerd; `up` starts one with a runtime that fits",
        )
    return None


def fault() -> EngineError | None:
    """Why there is no usable engine; None when there is. Raises EngineHung: no start helps there."""
    try:
        return unfit(info(), wrapper_needed=needs_wrapper())
    except EngineHung:
        raise
    except EngineError as error:
        return error


def _fault_of_a_young_one() -> EngineError | None:
    """It takes requests before it is ready to answer them."""
    try:
        return fault()
    except EngineHung as error:
        return error


def start(log: Log) -> None:
    """Start Docker and wait until it answers. Raises EngineError when an unfit one runs, or none can be started."""
    try:
        found = info()
    except EngineHung:
        raise
    except EngineError as error:
        if os.geteuid() != 0 or "permission denied" in str(error):
            raise
    else:
        if reason := unfit(found, wrapper_needed=needs_wrapper()):
            raise reason
        return
    has_systemd = Path("/run/systemd/system").is_dir()
    log("starting Docker")
    if has_systemd and not needs_wrapper():
        host.run(["systemctl", "start", "docker"], deadline_s=_START_S)
    else:
        start_own(paths.engine_folder(), has_systemd=has_systemd)
    try:
        waiting.wait_for(
            _fault_of_a_young_one, lambda reason: reason is None, deadline_s=_START_S, what="dockerd to answer"
        )
    except waiting.WaitTimeout as error:
        raise EngineError(str(error), hint=f"its log: {paths.engine_folder() / 'dockerd.log'}") from error


def start_own(folder: Path, *, has_systemd: bool) -> None:
    """Start dockerd with a configuration and log in ``folder``; does not wait for it."""
    folder.mkdir(parents=True, exist_ok=True)
    wrapper = None
    if needs_wrapper():
        wrapper = folder / "capbnd"
        runc = host.found("runc")
        if runc is None:
            raise EngineError("runc is not installed", hint="install the package runc")
        wrapper.write_text((RECIPES / "engine" / "capbnd").read_text().replace("@RUNC@", runc))
        wrapper.chmod(0o755)
    config = folder / "daemon.json"
    config.write_text(json.dumps(daemon_config(wrapper=wrapper, has_systemd=has_systemd), indent=2) + "\n")
    program = host.found("dockerd") or "dockerd"
    host.start_daemon([program, "--config-file", config], log=folder / "dockerd.log")
