"""Nodes that are to be left: a migration for each VMI on them that asked to move instead of to end."""
