"""Tables of what was recovered, against sums over made-up voxels."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

from lib import plotting, recovery

LAYERS = ["conv", "mid", "pool"]
N_SPLITS, N_VOXELS = 4, 16


def truth(seed=0):
    """Truth about 16 voxels of two subjects in two regions, each noisier than the one before."""
    rng = np.random.default_rng(seed)
    signal = rng.standard_normal((30, N_VOXELS))
    noise = np.linspace(0.1, 3, N_VOXELS) * rng.standard_normal((3, 30, N_VOXELS))
    per_voxel = {
        "true_layer": np.tile(["conv", "pool"], 8),
        "true_share": np.tile(np.repeat([0.8, 1.0], 4), 2),
        "true_explainable": np.tile(np.repeat([0.4, 0.8], 2), 4),
        "attainable_r2": rng.random(N_VOXELS),
    }
    coords = {
        "voxel": [f"v{i}" for i in range(N_VOXELS)],
        "subject": ("voxel", np.repeat(["a", "b"], 8)),
        "roi": ("voxel", np.tile(["P1", "P2"], 8)),
    }
    variables = {"response": (("repeat", "stimulus", "voxel"), signal + noise)}
    return xr.Dataset(variables | {name: ("voxel", v) for name, v in per_voxel.items()}, coords)


def scores(seed=1):
    """Scores of three layers, largest in the true layer but for voxel 5, which seems to be of layer `mid`."""
    rng, known = np.random.default_rng(seed), truth()
    names = ("r2", "reliability_voxel", "reliability_prediction")
    values = {name: 0.2 + 0.5 * rng.random((3, N_SPLITS, N_VOXELS)) for name in names}
    corrected = rng.random((3, N_SPLITS, N_VOXELS))
    best = [LAYERS.index(layer) for layer in known["true_layer"].values]
    best[5] = 1
    corrected[best, :, np.arange(N_VOXELS)] += 2
    values["r2_corrected"] = corrected
    coords = {"layer": LAYERS, "voxel": known["voxel"].values}
    return xr.Dataset({name: (("layer", "split", "voxel"), v) for name, v in values.items()}, coords)


def found(**names):
    """Voxels of one target as the figure notebook puts them together."""
    names = {"model": "net", "target": "Toy", "layers": ",".join(LAYERS)} | names
    return recovery.voxels(scores(), truth()).assign(**names)


def test_each_voxel_stands_beside_its_truth():
    table, known, found_scores = recovery.voxels(scores(), truth()), truth(), scores()
    assert table["voxel"].tolist() == known["voxel"].values.tolist()
    for column in ("subject", "roi", "true_layer", "true_share", "true_explainable", "attainable_r2"):
        assert table[column].tolist() == known[column].values.tolist()
    right = (table["layer"] == table["true_layer"]).to_numpy()
    assert np.flatnonzero(~right).tolist() == [5]
    assert table["layer"][5] == "mid"
    for v, row in enumerate(table.itertuples()):
        here = found_scores.sel(layer=row.true_layer).isel(voxel=v)  # not the layer that was found
        assert row.r2 == pytest.approx(float(here["r2"].mean()), rel=1e-12)
        product = here["reliability_voxel"].values * here["reliability_prediction"].values
        assert row.ceiling == pytest.approx(product.mean(), rel=1e-12)
        repeats = np.corrcoef(known["response"].values[:, :, v])[np.triu_indices(3, 1)]
        assert row.repeat_r == pytest.approx(np.median(repeats), rel=1e-12)


def test_scores_of_other_voxels_or_another_model_are_refused():
    with pytest.raises(ValueError, match="different voxels, or in different order"):
        recovery.voxels(scores().isel(voxel=slice(None, None, -1)), truth())
    with pytest.raises(ValueError, match=r"lack the planted layers \['conv', 'pool'\]"):
        recovery.voxels(scores().assign_coords(layer=["a", "mid", "b"]), truth())


@pytest.mark.parametrize("smallest", [-1, 0.3])
def test_assignment_counts_reliable_voxels(smallest):
    table = found()
    assigned, _ = recovery.tables(table, smallest_repeat_r=smallest)
    kept = table[table["repeat_r"] > smallest]
    assert (len(kept) < len(table)) == (smallest > 0)
    for row in assigned.itertuples():
        here = kept[kept["roi"] == row.roi]
        assert row.share == pytest.approx((here["layer"] == row.layer).mean(), rel=1e-12)
        assert row.true_layer == {"P1": "conv", "P2": "pool"}[row.roi]
    np.testing.assert_allclose(assigned.groupby("roi")["share"].sum(), 1, rtol=1e-12)


def test_recovered_values_are_ratios_of_sums_over_each_subject():
    table = found()
    _, recovered = recovery.tables(table, smallest_repeat_r=0.3, level=0.9)
    assert len(recovered) == 4
    for row in recovered.itertuples():
        here = table[
            (table["true_explainable"] == row.explainable) & (table["true_share"] == row.planted_share)
        ]
        assert len(here) == 4  # unreliable ones included
        ratios = [part["r2"].sum() / part["ceiling"].sum() for _, part in here.groupby("subject")]
        interval = stats.ttest_1samp(ratios, 0).confidence_interval(0.9)
        assert (row.value, row.low, row.high) == pytest.approx((np.mean(ratios), *interval), rel=1e-10)
        assert row.planted == pytest.approx(here["attainable_r2"].mean(), rel=1e-12)
        assert (row.n, row.unit) == (2, "subject")


def test_targets_are_kept_apart():
    one, two = found(), found(target="other", model="net2").assign(r2=lambda t: t["r2"] / 2)
    for together, alone in zip(
        recovery.tables(pd.concat([one, two]), smallest_repeat_r=0.3),
        recovery.tables(two, smallest_repeat_r=0.3),
        strict=True,
    ):
        part = together[together["target"] == "other"].reset_index(drop=True)
        pd.testing.assert_frame_equal(part, alone)


def test_quotable_numbers_are_those_of_the_tables():
    table = found()
    _, recovered = recovery.tables(table, smallest_repeat_r=0.3)
    numbers = recovery.quotable(table, recovered, smallest_repeat_r=0.3).set_index("name")
    assert numbers.index.is_unique
    reliable = table[table["repeat_r"] > 0.3]
    right = (reliable["layer"] == reliable["true_layer"]).groupby(reliable["subject"]).mean()
    first = numbers.loc["encode/toy/net/layer_found"]
    assert first["value"] == pytest.approx(right.mean(), rel=1e-12)
    assert first["n"] == 2
    assert len(numbers) == 1 + len(recovered)
    for row in recovered.itertuples():
        name = f"encode/toy/net/recovered_r2/explainable_{row.explainable}_share_{row.planted_share}"
        assert numbers.loc[name, ["value", "low", "high"]].tolist() == [row.value, row.low, row.high]
        assert f"reaches {row.planted:.3f}".rstrip("0") in numbers.loc[name, "what"]


def test_quotable_numbers_can_be_saved(tmp_path):
    both = pd.concat([found(), found(target="other")])
    _, recovered = recovery.tables(both, smallest_repeat_r=0.3)
    numbers = recovery.quotable(both, recovered, smallest_repeat_r=0.3)
    plotting.save_numbers(numbers, tmp_path / "numbers.csv")
