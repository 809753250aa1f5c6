"""Policies for migrations, as the tests of those have them."""

from functests.migration.conftest import policy

__all__ = ["policy"]
