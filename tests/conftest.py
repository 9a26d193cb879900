"""Settings that every test shares: the Hypothesis profiles and one thread per process."""

import os

import torch
from hypothesis import HealthCheck, Phase, settings

# `too_slow` measures the machine, not the test. To explain a failure takes longer than to find and shrink it.
_shared = settings(
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[phase for phase in Phase if phase is not Phase.explain],
)
# "test" draws the same examples every time, so that a red run is red again; "nightly" explores.
settings.register_profile("test", _shared, max_examples=50, derandomize=True)
settings.register_profile("nightly", _shared, max_examples=500)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "test"))

torch.set_num_threads(1)
