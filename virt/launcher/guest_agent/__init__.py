"""The guest agent: what it is asked, and what of its answers is believed."""

from virt.launcher.guest_agent.agent import GuestAgent
from virt.launcher.guest_agent.answers import GuestFacts
from virt.launcher.guest_agent.poll import Poll

__all__ = ["GuestAgent", "GuestFacts", "Poll"]
