"""The handlers' part of a migration: sockets of the two launchers joined by mutual TLS, and what the VMI tells of it.

How the parts work together: docs/architecture.md, "Migration".
"""
