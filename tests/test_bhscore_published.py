import json
import os
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from lib import artefacts, bh29, bhscore, bhscore_published, inference

# Ranking by the mean of both directions; figure 3 of the paper and the authors' notebook.
RANKING = [
    "VGG-S", "CORnet-R", "VGG-F", "AlexNet", "VGG-M", "VGG-19", "VGG-16", "ResNet-18", "CORnet-S", "ResNet-34",
    "SqueezeNet-1.0", "SqueezeNet-1.1", "DenseNet-121", "DenseNet-161", "DenseNet-201", "DenseNet-169", "CORnet-Z",
    "Inception-v1", "Inception-v2", "Inception-ResNet-v2", "NASNet-Mobile", "PNASNet-Large",
    "MobileNet-v2-1.4-224", "ResNet-50-v2", "NASNet-Large", "ResNet-101-v2", "Inception-v3", "ResNet-152-v2",
    "Inception-v4",
]  # fmt: skip


@pytest.fixture
def reference():
    folder = os.environ.get("COMPENDIUM_REFERENCE")
    if not folder:
        pytest.skip("COMPENDIUM_REFERENCE, a folder of oracles, is not set")
    return lambda name: json.loads((Path(folder) / f"hierarchy_{name}.json").read_text())


def test_published_scores_are_of_the_29_networks():
    table = bhscore_published.scores()
    assert list(table.index) == list(bh29.networks().index)
    assert table.sort_values("mean", ascending=False).index.tolist() == RANKING
    runs = table[["decoding", "decoding_20200807", "decoding_20200811"]]
    # Draws of 100 subsets differ by less than what is allowed for replications.
    assert np.ptp(runs, axis=1).max() < bhscore_published.TOLERANCES["decoding"]
    assert abs(table.loc["AlexNet", "mean"] - 0.4162559107764515) < 1e-12


def test_better_networks_have_lower_scores():
    found = bhscore_published.performance(bhscore_published.tidy()).set_index("measure")
    rho = found.loc[["decoding", "encoding", "mean"], "value"].round(4).tolist()
    assert rho == [-0.7244, -0.4701, -0.7325]
    assert (found["high"] < 0).all()
    assert (found["low"] < found["value"]).all()
    assert (found["n"] == 29).all()
    few = bhscore_published.tidy().query("network in ['AlexNet', 'VGG-F']")
    assert bhscore_published.performance(few)["value"].isna().all()


@pytest.mark.reference
def test_table_is_that_of_the_notebooks(reference):
    given, table = reference("published_scores"), bhscore_published.scores()
    names = {
        "decoding": "decoding_layerselect", "decoding_20200807": "decoding_layerselect_run_20200807",
        "decoding_20200811": "decoding_layerselect_run_20200811", "decoding_all_layers": "decoding_all_layers_2dp",
        "encoding": "encoding", "mean": "average", "top1": "imagenet_top1",
    }  # fmt: skip
    for network, row in table.iterrows():
        expected = [given[network][name] for name in names.values()]
        assert row[list(names)].tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.reference
def test_scores_of_published_shapes_agree_with_published_scores(reference):
    """Shares read off the figures, layers weighted alike since their numbers of units are not known."""
    shares, published = reference("toprois_digitised"), bhscore_published.scores()
    found = np.array([bhscore.score(np.array(shares[network])) for network in published.index])
    difference = abs(found - published["decoding"].to_numpy())
    assert stats.pearsonr(found, published["decoding"]).statistic == pytest.approx(0.944, abs=1e-3)
    assert stats.spearmanr(found, published["decoding"]).statistic == pytest.approx(0.959, abs=1e-3)
    assert difference.mean() == pytest.approx(0.057, abs=1e-3)
    assert difference.max() == pytest.approx(0.13, abs=5e-3)
    assert published.index[difference.argmax()] == "SqueezeNet-1.0"
    whole = np.array([bhscore.score(np.array(shares[n]), n_layers=None) for n in published.index])
    assert abs(whole - published["decoding_all_layers"]).max() < 0.12


def released(folder, network, seed=0):
    """Accuracies in the form of the release, of a made-up network with the layers of a real one."""
    rng, subjects, rois = (
        np.random.default_rng(seed),
        ["sub-01", "sub-02", "sub-03"],
        ["V1", "V2", "V3", "V4", "HVC"],
    )
    layers = bh29.layers(network)["layer"].tolist()
    places = np.linspace(0, 1, len(layers))
    name, n_units = bh29.networks().loc[network, "folder"], 40
    own = 0.5 - 0.3 * abs(np.linspace(0, 1, 5)[:, None] - np.repeat(places, n_units))
    values = np.clip(own + 0.1 * rng.standard_normal((3, 5, len(layers) * n_units)), -1, 1).astype(np.float32)
    coords = {"subject": subjects, "roi": rois, "unit": range(values.shape[-1])}
    decoding = xr.DataArray(values, coords | {"layer": ("unit", np.repeat(layers, n_units))}, tuple(coords))
    n_voxels = {"V1": 1010, "V2": 20, "V3": 20, "V4": 20, "HVC": 30}
    roi = np.tile(np.repeat(rois, list(n_voxels.values())), 3)
    place = np.array([rois.index(r) for r in roi]) / 4
    values = 0.5 - 0.3 * abs(places[:, None] - place) + 0.1 * rng.standard_normal((len(layers), len(roi)))
    coords = {
        "layer": layers,
        "voxel": range(len(roi)),
        "subject": ("voxel", np.repeat(subjects, len(roi) // 3)),
    }
    encoding = xr.DataArray(values.astype(np.float32), coords | {"roi": ("voxel", roi)}, ("layer", "voxel"))
    for direction, accuracy in (("decoding", decoding), ("encoding", encoding)):
        artefacts.save(accuracy.to_dataset(name="accuracy"), folder / direction / f"{name}.nc")
    return decoding, encoding


def test_released_accuracies_are_scored_as_published_and_right(tmp_path):
    made = {
        network: released(tmp_path, network, seed)
        for seed, network in enumerate(["SqueezeNet-1.0", "CORnet-Z"])
    }
    found = bhscore_published.recomputed(tmp_path)
    assert found["network"].unique().tolist() == ["SqueezeNet-1.0", "CORnet-Z"]
    assert len(found) == 2 * 2 * 4
    rows = found.set_index(["network", "formula", "measure"])
    for network, (decoding, encoding) in made.items():
        for formula, name in ((None, "t"), ("nonaka2021", "nonaka2021")):
            tops = bhscore.top_rois(decoding, n_stimuli=50, published=formula)
            value = bhscore.score(bhscore.counts(tops).sum("subject"))
            assert rows.loc[(network, name, "decoding"), "value"] == pytest.approx(value)
        # As published: 1000 of 1010 voxels of V1, in each subject.
        tops = bhscore.top_layers(encoding, n_stimuli=50, published="nonaka2021")
        assert tops.sizes["item"] == encoding.sizes["voxel"] - 30
        value = bhscore.score(bhscore.counts(tops).sum("subject"), n_layers=None)
        assert rows.loc[(network, "nonaka2021", "encoding"), "value"] == pytest.approx(value)
        row = rows.loc[(network, "nonaka2021", "mean")]
        assert row["published"] == bhscore_published.scores().loc[network, "mean"]
        assert row["within"] == (abs(row["value"] - row["published"]) <= 0.01)
        assert row["low"] < row["value"] < row["high"]
    assert rows.xs("t", level="formula")["published"].isna().all()


def test_scores_within_their_tolerance_are_told_from_others(tmp_path, monkeypatch):
    decoding, _ = released(tmp_path, "SqueezeNet-1.0")
    tops = bhscore.top_rois(decoding, n_stimuli=50, published="nonaka2021")
    value = bhscore.score(bhscore.counts(tops).sum("subject"))
    table = bhscore_published.scores()
    for near, within in ((0.019, True), (0.021, False)):
        moved = table.assign(decoding=table["decoding"].where(table.index != "SqueezeNet-1.0", value + near))
        monkeypatch.setattr(bhscore_published, "scores", lambda moved=moved: moved)
        found = bhscore_published.recomputed(tmp_path).query(
            "formula == 'nonaka2021' and measure == 'decoding'"
        )
        assert found["within"].item() is within
        assert found["difference"].item() == pytest.approx(-near)


def test_figures_and_numbers_have_what_is_there(tmp_path):
    none = bhscore_published.recomputed(tmp_path)
    assert none.empty
    ranked = bhscore_published.beside(none)
    assert len(ranked) == 29 * 4
    assert ranked["value"].isna().all()
    rows = bhscore_published.quotable(none)
    assert rows["name"].tolist() == [
        f"bhscore/deeprecon/published/top1_spearman/{m}" for m in bhscore.MEASURES
    ]
    for seed, network in enumerate(["CORnet-Z", "ResNet-18", "ResNet-34", "AlexNet"]):
        released(tmp_path, network, seed)
    again = bhscore_published.recomputed(tmp_path)
    ranked = bhscore_published.beside(again).set_index(["measure", "network"])
    assert ranked["value"].notna().sum() == 4 * 4
    rows = bhscore_published.quotable(again).set_index("name")
    assert list(rows.reset_index()) == inference.QUOTED
    assert not rows.index.duplicated().any()
    largest = rows.loc["bhscore/deeprecon/released/largest_difference/encoding", "value"]
    assert largest == pytest.approx(
        abs(ranked.loc["encoding", "value"] - ranked.loc["encoding", "published"]).max()
    )
    assert rows.loc["bhscore/deeprecon/released/top1_spearman/mean", "n"] == 4
