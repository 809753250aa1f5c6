"""Network cards of this machine that nodes of kind borrow, so that guests there get real virtual functions.

A card that is lent is in the network namespace of its node's container, and back on the machine when the cluster goes
or the setting says so. What it was like before is in the state file before it is moved.
"""
