"""The two folders that cluster_up writes to. Nothing else on the machine is its own but the engine's configuration."""

import os
from pathlib import Path

_NAME = "virt-harness"


def cache_root() -> Path:
    """What can be made again, kept by recipe hash; shared by all clusters, kept by ``down``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / _NAME


def state_root() -> Path:
    """One folder per cluster; ``down`` removes it."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / _NAME


def cluster_folder(name: str) -> Path:
    return state_root() / name


def engine_folder() -> Path:
    """Configuration and log of a container engine that ``up`` had to start. Outside every cluster's folder."""
    return cache_root() / "engine"


def source_root() -> Path:
    """The repository that this package is part of."""
    return Path(__file__).parents[1]
