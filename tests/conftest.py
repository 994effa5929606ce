"""What every test runs under: strict JAX, no deadline for properties, real data where it is at hand."""

import os
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest
from hypothesis import HealthCheck, settings

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# The first example compiles, so a deadline would measure the compiler.
settings.register_profile("neuro", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("neuro")


@pytest.fixture(scope="session")
def neuro_data() -> Path:
    """Folder of real data sets and networks, named by NEURO_DATA; tests that need it skip without it."""
    folder = os.environ.get("NEURO_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("NEURO_DATA names no folder of data sets")
    return Path(folder).resolve()
