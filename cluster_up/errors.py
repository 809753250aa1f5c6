"""Root of the error tree of ``cluster_up``.

    ClusterError
    ├── StateError      the state file is damaged, or newer than this program (cluster_up.state)
    ├── KubeError       the API server refused, or is away (cluster_up.kube)
    ├── RunError        a program failed or passed its deadline (cluster_up.exec)
    ├── ConfigError     the configuration has faults, all of them in one error (exit code 2)
    ├── EngineError     no usable container engine
    │   └── EngineHung  it takes requests and does not answer
    ├── ForeignCluster  a cluster of this name exists that is not ours
    ├── NoCluster       there is no cluster of this name
    ├── Busy            another command works on this cluster
    ├── StepFailed      a step of ``up`` cannot reach its goal
    └── DoctorFailed    the machine lacks something without which a cluster cannot run

A message says what failed and with what value, the hint what to do about it.
"""

from collections.abc import Sequence


class ClusterError(Exception):
    """Base of all errors raised on purpose.

    ``reference`` is a heading of docs/troubleshooting.md; ``hint`` says what a person can do; ``exit_code`` is what the
    command ends with.
    """

    reference = "internal-error"
    hint = ""
    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        if hint:
            self.hint = hint


class ConfigError(ClusterError):
    """``faults`` is every fault found, one line each, with file and path."""

    reference = "bad-configuration"
    hint = "docs/cluster-up.md lists every setting; --print-config shows the values in force"
    exit_code = 2

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


class EngineError(ClusterError):
    reference = "no-container-engine"
    hint = "run `python -m cluster_up doctor`"


class EngineHung(EngineError):
    hint = "restart it (systemctl restart docker, or end dockerd); `up` starts one where none runs"


class ForeignCluster(ClusterError):
    reference = "foreign-cluster"
    hint = "choose another --name, or delete that cluster with the tool that made it"


class NoCluster(ClusterError):
    reference = "no-such-cluster"
    hint = "start it: python -m cluster_up up"


class Busy(ClusterError):
    reference = "cluster-busy"
    hint = "wait for that command to end, or end it"


class StepFailed(ClusterError):
    reference = "step-failed"
    hint = "the states above show where it got stuck; `python -m cluster_up logs` collects the components' logs"


class DoctorFailed(ClusterError):
    reference = "unfit-machine"
    hint = "mend what is listed, or go on at your own risk with --force"
