"""An agent that comes and goes, or may not do everything."""

import pytest

from functests.libs import build, patience
from functests.libs.cluster import Cluster
from functests.libs.kube import Space, condition
from functests.libs.rest import VMI, Answer, subresource_path

_QUESTIONS = ("guestosinfo", "userlist", "filesystemlist")


@pytest.mark.demand(seconds=75)
@pytest.mark.case("AGT-006")
@pytest.mark.case("AGT-005")
def test_an_agent_that_comes_and_goes(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a running VMI whose guest runs the agent.
    Steps: stop and start the agent three times; start it with guest-get-users blocked; start it with commands blocked
        that only credentials need.
    Expected: the condition follows each time; without the agent each question is refused with the reason and without
        old data; AgentVersionNotSupported True, its reason speaks of basic commands; then absent, for 30 s.
    """
    _, shell = space.boot(build.kernel_boot_vmi(cluster, "vm"))

    def ask(question: str) -> Answer:
        return space.rest.get(subresource_path(VMI, space.name, "vm", question))

    def started(*options: str) -> None:
        shell.succeed(f"agent start {' '.join(options)}")
        space.wait_condition("vm", "AgentConnected", "True", within_s=patience.promised(15))

    def stopped() -> None:
        shell.succeed("agent stop")
        vmi = space.wait_condition("vm", "AgentConnected", "", within_s=patience.promised(15))
        assert "guestOSInfo" not in vmi["status"], vmi["status"]["guestOSInfo"]

    space.wait_condition("vm", "AgentConnected", "True", within_s=patience.promised(15))
    for number in range(3):
        stopped()
        for question in _QUESTIONS:
            refused = ask(question)
            assert refused.code >= 400, (number, question, refused.text)
            assert "VMI does not have guest agent connected" in refused.message, (number, question, refused.text)
            assert "tiny" not in refused.text, refused.text
        started()
        assert ask("guestosinfo").ok()["os"]["id"] == "tiny"
        assert ask("userlist").code == 200
        assert ask("filesystemlist").code == 200

    stopped()
    started("-b", "guest-get-users")
    limited = space.wait_condition("vm", "AgentVersionNotSupported", "True", within_s=patience.promised(15))
    reason = condition(limited, "AgentVersionNotSupported")["reason"]
    assert "basic commands" in reason, reason
    assert "guest-get-users" in reason, reason

    stopped()
    assert condition(space.vmi("vm"), "AgentVersionNotSupported") == {}
    started("-b", "guest-exec,guest-set-user-password")
    commands = {entry["name"]: entry.get("enabled", False) for entry in ask("guestosinfo").ok()["supportedCommands"]}
    assert commands["guest-exec"] is False, commands
    patience.quiet(
        "the agent was found wanting", lambda: condition(space.vmi("vm"), "AgentVersionNotSupported"), bool, for_s=30
    )
