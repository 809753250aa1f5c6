"""From the secrets as they are to the certificates as they should be now."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from virt.api import names
from virt.operator.certificates import issue, plan
from virt.operator.resources import Json
from virt.operator.strategy.certificates import KeyPair, Material


@dataclass(frozen=True)
class Renewal:
    """``issued``: names of the secrets whose content is new."""

    material: Material
    issued: tuple[str, ...]
    wake_at: datetime


def renewal(
    secrets: Mapping[str, Json | None], config_map: Json | None, namespace: str, settings: plan.Settings,
    now: datetime,
) -> Renewal:
    """Keeps every key pair that is good, issues the others. ``config_map``: the published bundle.

    ``secrets`` by name, as plain JSON; those that it lacks count as missing.
    """
    issued: list[str] = []
    ca = issue.pair_in(secrets.get(plan.CA))
    published = issue.authorities(((config_map or {}).get("data") or {}).get(names.CA_KEY, ""))
    replaced = (issue.authority(ca),) if ca else ()
    if ca is None or plan.ca_is_due(issue.authority(ca).held, settings, now):
        ca = issue.new_ca(settings.ca.text, settings.ca.whole, now)
        issued.append(plan.CA)
    current = issue.authority(ca)
    known = {found.held.key_id: found for found in (*published, *replaced, current)}
    bundled = plan.bundle(current.held, (found.held for found in known.values()), settings, now)
    trusted = [known[held.key_id] for held in bundled]

    pairs = {name: issue.pair_in(secrets.get(name)) for name in plan.LEAVES}
    leaves = {name: issue.held(pair, trusted) if pair else None for name, pair in pairs.items()}
    final: dict[str, KeyPair] = {plan.CA: ca}
    due = plan.due_leaves(current.held, leaves, settings, now)
    for name, pair in pairs.items():
        if pair is None or name in due:
            subject = issue.subject(name, namespace)
            final[name] = issue.new_leaf(ca, subject, settings.server.text, settings.server.whole, now)
            issued.append(name)
        else:
            final[name] = pair
    holding = [issue.held(final[name], trusted) for name in plan.LEAVES]
    return Renewal(
        Material(final, "".join(found.pem for found in trusted)),
        tuple(issued),
        plan.wake_at(bundled, holding, settings),
    )
