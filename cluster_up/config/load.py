"""Reads the settings from a file, the environment and the command line; the later wins."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from cluster_up.config.types import Config, Loaded
from cluster_up.config.validate import SETTINGS, Value, checked, field_of
from cluster_up.errors import ConfigError

PREFIX = "VIRT_CLUSTER_"
_FILE_VARIABLE = f"{PREFIX}CONFIG"


def load(file: Path | None, options: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> Loaded:
    """The configuration of a TOML or YAML ``file`` (by its suffix), variables VIRT_CLUSTER_*, and ``options``.

    ``options`` are values given on the command line, None where not given. VIRT_CLUSTER_CONFIG names the file when
    ``file`` is None. Raises ConfigError with all faults at once.
    """
    variables = os.environ if environment is None else environment
    if file is None and variables.get(_FILE_VARIABLE):
        file = Path(variables[_FILE_VARIABLE])
    values, faults = _from_file(file) if file else ({}, [])
    values |= _from_environment(variables)
    values |= {
        name: Value(raw, "command line", f"--{name.replace('_', '-')}")
        for name, raw in options.items()
        if raw is not None
    }
    config, more = checked(values, Config())
    if faults + more:
        raise ConfigError(faults + more)
    sources = {field_of(name): values[name].source if name in values else "default" for name in SETTINGS}
    return Loaded(config, sources)


def _from_environment(variables: Mapping[str, str]) -> dict[str, Value]:
    """Unknown names stay in, under the variable's own name, so that the check names them."""
    found = {}
    for variable, raw in sorted(variables.items()):
        if variable.startswith(PREFIX) and variable != _FILE_VARIABLE:
            setting = variable.removeprefix(PREFIX).lower()
            found[setting if setting in SETTINGS else variable] = Value(raw, "environment", variable)
    return found


def _from_file(file: Path) -> tuple[dict[str, Value], list[str]]:
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        return {}, [f"{file}: cannot be read: {error.strerror if isinstance(error, OSError) else error}"]
    try:
        if file.suffix == ".toml":
            raw: Any = tomllib.loads(text)
        elif file.suffix in (".yaml", ".yml"):
            raw = yaml.safe_load(text) or {}
        else:
            return {}, [f"{file}: unknown kind of file; allowed: .toml, .yaml, .yml"]
    except (tomllib.TOMLDecodeError, yaml.YAMLError) as error:
        return {}, [f"{file}: {' '.join(str(error).split())}"]
    if not isinstance(raw, dict):
        return {}, [f"{file}: holds a {type(raw).__name__}; allowed: settings by name"]
    return {str(name): Value(value, str(file), str(name)) for name, value in raw.items()}, []


def shown(loaded: Loaded) -> str:
    """The values in force and where each came from, one line each; the text is itself a valid TOML file."""
    lines = []
    for name in SETTINGS:
        value = getattr(loaded.config, field_of(name))
        if name == "machine_memory":
            value = f"{value}Mi"
        if name == "memory":
            value = "all" if value is None else f"{value}Mi"
        text = str(value) if isinstance(value, int) else f'"{value}"'
        lines.append(f"{name} = {text}".ljust(40) + f" # {loaded.sources[field_of(name)]}")
    return "\n".join(lines)
