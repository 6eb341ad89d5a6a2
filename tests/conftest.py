"""What all tests share: the compilation cache of this user, and double precision where a test asks for it."""

from pathlib import Path

import jax
import jaxtyping
import pytest
from platformdirs import user_cache_dir

jax.config.update("jax_compilation_cache_dir", str(Path(user_cache_dir("descentlab")) / "jax"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


@pytest.fixture(autouse=True, scope="module")
def compiled_programs_let_go():
    """Programs a module compiled are dropped after it: each holds memory maps, and Linux gives a process 65,530."""
    yield
    jax.clear_caches()


@pytest.fixture
def float64():
    """Double precision, which the package switches on around a run and nowhere else."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def without_type_checker():
    """As the package is used: the tests' own checker of annotations would speak first."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
