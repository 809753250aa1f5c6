"""Root of the error tree of ``virt``. Every error says what failed, with what value, and what to do next."""


class VirtError(Exception):
    """Base of all errors raised on purpose.

    ``reference`` is a kebab-case word with a heading of its own in docs/troubleshooting.md;
    ``hint`` says what a person can do.
    """

    reference = "internal-error"
    hint = ""


class SettingMissingError(VirtError):
    """A variable of the environment that a daemon cannot do without is not set."""

    reference = "setting-missing"
    hint = "virt-operator sets it in the component's Deployment or DaemonSet; elsewhere set it by hand (--help)"
