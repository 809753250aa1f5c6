"""What holds for all unit tests."""

from hypothesis import HealthCheck, settings

# Hypothesis fails an example that takes 200 ms and data that are made slowly: on a busy machine that says nothing.
settings.register_profile("patient", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
