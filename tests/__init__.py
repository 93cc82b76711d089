"""The same tree as mailftp/, and what goes through all of it: interop, hostile, crash."""

from hypothesis import HealthCheck, settings

# How long an example takes on a machine that others use too says nothing about the code.
settings.register_profile(
    "mailftp", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("mailftp")
