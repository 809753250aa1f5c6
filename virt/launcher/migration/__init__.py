"""A guest that leaves for another node, or comes from one. The launchers' sides of it; the handlers join their sockets.

How it works: docs/architecture.md, "Migration". libvirt: https://libvirt.org/migration.html, peer to peer over sockets.
"""
