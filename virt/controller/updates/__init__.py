"""Guests that have to move so that a change of their VM comes into force: a migration for each of them."""
