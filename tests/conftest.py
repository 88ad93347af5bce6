"""What holds for every test."""

from hypothesis import HealthCheck, settings

# A machine that is busy makes an example slow, which says nothing of the code.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
