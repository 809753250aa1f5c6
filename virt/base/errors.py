"""Root of the error tree of ``virt``.

    VirtError
    ├── SettingMissingError   a daemon lacks what its manifest should say
    ├── RunError              a process failed (virt.base.exec)
    ├── WaitTimeout           a wait gave up (virt.base.waiting)
    ├── WaitStopped           a wait saw a state that cannot recover
    ├── ApiError              the Kubernetes API refused a request (virt.kube.client)
    └── RpcError              the launcher refused a request (virt.rpc)

Every error says what failed, with what value, and what to do next.
"""


class VirtError(Exception):
    """Base of all errors raised on purpose.

    ``reference`` is a kebab-case word with a heading of its own in docs/troubleshooting.md;
    ``hint`` says what a person can do; ``exit_code`` is what a command ends with.
    """

    reference = "internal-error"
    hint = ""
    exit_code = 1


class SettingMissingError(VirtError):
    """A variable of the environment that a daemon cannot do without is not set."""

    reference = "setting-missing"
    hint = "virt-operator sets it in the component's Deployment or DaemonSet; elsewhere set it by hand (--help)"
