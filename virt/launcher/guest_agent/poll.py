"""Asks the agent now and then: soon after it came, then ever less often."""

import asyncio
from collections.abc import Callable

from virt.base import log
from virt.launcher.guest_agent.agent import GuestAgent
from virt.launcher.guest_agent.answers import GuestFacts
from virt.launcher.libvirt_conn import HypervisorError

FIRST_PAUSE_S = 2.0
LONGEST_PAUSE_S = 120.0
_logger = log.get("virt.launcher.guest_agent")


class Poll:
    """:meth:`run` while an agent is connected; what it learns goes to ``learned``."""

    def __init__(self, agent: GuestAgent, learned: Callable[[GuestFacts], None]) -> None:
        self._agent = agent
        self._learned = learned

    async def run(self) -> None:
        """Ask until cancelled, when the agent is gone. A silent one may answer later: its guest may be paused."""
        pause_s, said = FIRST_PAUSE_S, ""
        while True:
            try:
                if (facts := await self._agent.facts()) is not None:
                    self._learned(facts)
                said = ""
            except HypervisorError as error:
                if str(error) != said:
                    said = str(error)
                    _logger.info("guest agent does not tell", error=said)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
