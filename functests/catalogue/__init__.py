"""The catalogue of functional cases: which there are, which have tests, which were last red and why."""
