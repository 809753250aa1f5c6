"""Feature gates: their state of maturity decides what they are without a word from the user.

GA is always on; Beta is on unless disabled; Alpha and Deprecated are off unless enabled; Discontinued is off.
"""

import enum
from collections.abc import Mapping


class State(enum.Enum):
    GA = "GA"
    BETA = "Beta"
    ALPHA = "Alpha"
    DEPRECATED = "Deprecated"
    DISCONTINUED = "Discontinued"


_NAMES = {
    State.GA: (
        "LiveMigration SRIOVLiveMigration NonRoot PSA CPUNodeDiscovery NUMA GPU VMLiveUpdateFeatures HotplugNICs "
        "NetworkBindingPlugins VolumesUpdateStrategy VolumeMigration VMExport VMPersistentState AutoResourceLimitsGate "
        "InstancetypeReferencePolicy ExpandDisks PanicDevices VideoConfig MigrationPriorityQueue LiveUpdateNADRef "
        "VmiMemoryOverheadReport"
    ),
    State.BETA: (
        "Snapshot DeclarativeHotplugVolumes ImageVolume NodeRestriction KubevirtSeccompProfile PasstBinding "
        "DecentralizedLiveMigration RebootPolicy OptOutRoleAggregation Template ExternalNetResourceInjection "
        "PodSecondaryInterfaceNamingUpgrade GPUsWithDRA HostDevicesWithDRA WorkloadEncryptionSEV"
    ),
    State.ALPHA: (
        "HostDisk CPUManager HostDevices Sidecar DownwardMetrics Root AlignCPUs VSOCK EnableVirtioFsStorageVolumes "
        "ExperimentalIgnitionSupport HypervStrictCheck MigrationStallDetection MigrationDowntimeTuning PortRangesSpec "
        "ObjectGraph IncrementalBackup OCIExport Plugins"
    ),
    State.DEPRECATED: "HotplugVolumes DockerSELinuxMCSWorkaround MultiArchitecture DisableMDEVConfiguration",
    State.DISCONTINUED: "Passt Macvtap ExperimentalVirtiofsSupport PasstIPStackMigration",
}

STATES: Mapping[str, State] = {name: state for state, names in _NAMES.items() for name in names.split()}


def is_enabled(gate: str, enabled: frozenset[str], disabled: frozenset[str]) -> bool:
    """Whether ``gate`` is on, given what the CR enables and disables. An unknown gate is off unless enabled."""
    state = STATES.get(gate, State.ALPHA)
    if state is State.GA:
        return True
    if state is State.DISCONTINUED:
        return False
    if gate in enabled:
        return True
    return state is State.BETA and gate not in disabled
