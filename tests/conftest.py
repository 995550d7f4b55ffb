"""Several test processes at once share the cores; nothing is fetched from the web unless asked for."""

import os
import sys

import pytest
from hypothesis import settings

# Here, because NumPy and torch read these when they are imported. Processes that each take all cores wait for
# one another in every product of matrices: two of them on two cores are several times slower than on one each.
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if WORKERS > 1:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, str(max(1, (os.cpu_count() or 1) // WORKERS)))


# Tests against random input take the same few examples each time; `--hypothesis-profile=long` takes many new ones.
settings.register_profile("short", max_examples=25, derandomize=True, deadline=None)
settings.register_profile("long", max_examples=5000, deadline=None, database=None)
settings.load_profile("short")


@pytest.fixture(autouse=True)
def _seeded():
    """What a test draws without a seed of its own is the same in each run, alone or among others."""
    if torch := sys.modules.get("torch"):
        torch.manual_seed(977)  # not a seed that tests or controls draw with


def pytest_collection_modifyitems(config, items):
    """Leave out what needs the web, unless `-m network` asks for it."""
    if "network" not in config.option.markexpr:
        for item in items:
            if "network" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="needs the web; run it with -m network"))
