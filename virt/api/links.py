"""Names of a pod's network links, which controller and handler agree on.

Apart from ``names``, which every launcher loads: hashlib brings OpenSSL along, 4 MiB of each launcher's memory.
"""

import hashlib


def secondary_link(network: str) -> str:
    """What the pod's card in the secondary network with this name in the spec is called."""
    return f"pod{hashlib.sha256(network.encode()).hexdigest()[:11]}"
