"""``python -m cluster_up``."""

from cluster_up.cli import main

main()
