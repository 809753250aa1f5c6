"""Mutations: small breakages of the product, each of which must turn named tests red.

The files beside this one (TOML) list them; ``python -m tests.mutations`` applies them one by one.
"""
