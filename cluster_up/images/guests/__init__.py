"""Guest images: what a test or a person boots, as container disks in the cluster's registry.

The reference of an image holds the hash of its recipe, so an unchanged image is neither built nor pushed again.
"""

from cluster_up.images.guests.catalogue import EARLY, LATER, Context, build, reference

__all__ = ["EARLY", "LATER", "Context", "build", "reference"]
