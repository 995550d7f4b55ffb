"""What the published functional-map code gives for synthetic RDMs."""

import os
from pathlib import Path

import numpy as np
import pytest

NAMES = ("edge2d", "keypoint2d", "edge3d", "rgb2depth", "class_1000", "segmentsemantic")
SEED_ROI, SEED_SEARCHLIGHT, N_DRAWS = 2021, 2022, 300
TOLERANCE = {"f64": 1e-9, "p": 1e-12, "ceiling": 1e-12, "bar": 1e-9}


def arrays():
    """All quantities by name; skips the test if they are not there."""
    folder = os.environ.get("COMPENDIUM_REFERENCE")
    if not folder:
        pytest.skip("COMPENDIUM_REFERENCE is unset: nothing to compare with")
    with np.load(Path(folder) / "functional_maps_oracle.npz") as found:
        return {
            name: found[name].astype(float) if found[name].dtype == "f4" else found[name] for name in found
        }


def sets(oracle):
    """Single networks, and three groups of two, each with two layers."""
    single = dict(zip(NAMES, oracle["cand"], strict=True))
    return single, dict(zip("ABC", oracle["grouped"], strict=True))
