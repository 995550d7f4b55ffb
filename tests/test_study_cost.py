"""Costs foretold from sizes alone are those of what is then done: bytes to some per cent, work by its laws."""

import numpy as np
import pandas as pd
import pytest
import toy
import xarray as xr

from lib import (
    artefacts,
    encoding,
    features,
    forecast,
    models,
    network_cost,
    study_cost,
    study_sizes,
)

SMALL = study_sizes.Target(40, 20, 2, 3, (10, 10), 1, 3)
NETWORK = study_sizes.Network((300, 200), 1e9, 1e8, 1e6, 1e7)


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path))


@pytest.fixture
def responses():
    """Voxels of two regions, three repeats, two splits."""
    rng, train = np.random.default_rng(0), np.arange(40) % 2 == 0
    return xr.Dataset(
        {
            "response": (("repeat", "stimulus", "voxel"), rng.normal(size=(3, 40, 20))),
            "train": (("split", "stimulus"), np.stack([train, ~train])),
        },
        coords={
            "stimulus": [f"s{i}" for i in range(40)],
            "subject": ("voxel", ["p"] * 20),
            "roi": ("voxel", ["a"] * 10 + ["b"] * 10),
        },
        attrs={"kind": "voxel"},
    )


def test_bytes_of_an_extraction_are_those_on_disk(tmp_path):
    table = toy.pictures(tmp_path, 6)
    features.extract(models.load("efficientnet_lite0"), table, tmp_path / "features.nc")
    network = study_sizes.network("efficientnet_lite0")
    assert dict(zip(models.load("efficientnet_lite0").layers, network.units, strict=True)) == features.units(
        tmp_path / "features.nc"
    )
    foretold = study_cost.stored("extract", network, SMALL._replace(n_stimuli=6))
    foretold -= study_cost.NOTEBOOKS["extract"]
    assert (tmp_path / "features.nc").stat().st_size == pytest.approx(foretold, rel=0.02)


def test_bytes_of_predictions_and_scores_are_those_on_disk(tmp_path, responses):
    wide = xr.concat([responses] * 20, "voxel", data_vars="minimal").assign_coords(
        voxel=[f"v{i}" for i in range(400)]
    )
    wide = wide.isel(split=[0, 1] * 5)
    rng, X = np.random.default_rng(1), np.random.default_rng(2).normal(size=(40, 30))
    layer = xr.DataArray(X, {"stimulus": wide["stimulus"]}, ("stimulus", "unit"))
    # Voxels that differ, and are predicted: what repeats itself takes less room.
    wide["response"] = wide["response"].dims, X @ rng.normal(size=(30, 400)) + rng.normal(size=(3, 40, 400))
    found = encoding.encode(layer, wide)
    artefacts.save(found[["prediction"]], tmp_path / "prediction.nc")
    artefacts.save(found.drop_vars(["prediction", "stimulus"]), tmp_path / "scores.nc")
    one, two = (
        study_cost.stored(
            "encode", study_sizes.Network((30,) * n), SMALL._replace(cells=(200, 200), n_splits=10)
        )
        for n in (1, 2)
    )
    size = sum((tmp_path / f"{name}.nc").stat().st_size for name in ("prediction", "scores"))
    # What a further layer adds; labels of voxels and empty chunks are the rest.
    assert two - one == pytest.approx(size, rel=0.15)


@pytest.mark.parametrize(
    ("step", "how"),
    [
        ("extract", {"n_stimuli": 2}),  # passes but for the trials, bytes
        ("encode", {"cells": 2}),
        ("rsa", {"n_subjects": 2}),
        ("decode", {"cells": 2}),
        ("bhscore", {"cells": 2}),
    ],
)
def test_work_grows_as_its_law_says(step, how):
    big = study_sizes.Target(1000, 500, 10, 3, (800,) * 20, 4, 6)
    more = big._replace(**{n: getattr(big, n) * k for n, k in how.items()})
    network = study_sizes.Network((5000,) * 9, 1e9, 1e8, 1e6, 1e7)
    once, twice = (study_cost.work(step, network, size) for size in (big, more))
    assert (twice >= once).all()
    seconds = [study_cost.job(step, network, size)["seconds"] for size in (big, more)]
    assert 1.2 < seconds[1] / seconds[0] <= 2.0 + 2.0 * (step == "extract")


def test_columns_of_a_ridge_are_counted_as_they_are_fitted():
    counts = study_cost.work("encode", NETWORK, SMALL)
    # Two layers, a shuffled one and two joint fits; the mean and three repeats of 20 voxels; two splits.
    assert counts["columns"] == 2 * 5 * 80 * 20 * 100
    assert study_cost.work("encode", NETWORK, SMALL._replace(n_repeats=1))["columns"] == counts["columns"] / 4


def test_systems_are_of_what_is_selected_or_left_out():
    assert study_cost.system(300, 500) == 0
    assert study_cost.system(600, 500) == 125**3 / 3
    assert study_cost.system(5000, 500) == 500**3 / 3


def test_released_features_need_no_forward_pass():
    counts = study_cost.work("extract", NETWORK._replace(flops=0.0, traffic=0.0), SMALL)
    assert set(counts.index) == {"start", "written", "products"}


def test_jobs_that_ran_correct_what_is_foretold_of_like_ones(tmp_path, responses):
    artefacts.save(responses, tmp_path / "data" / "download" / "planted_audio" / "responses.nc")
    plain = study_cost.expected([("encode", "crepe_tiny", "planted_audio")], [])
    seconds = plain["seconds"].item()
    done = [("encode", "crepe_tiny.permuted", "planted_audio", 3 * seconds), ("figures", "", "", 90.0)]
    todo = [("encode", "crepe_tiny", "planted_audio"), ("figures", "", ""), ("download", "", "nh2015")]
    found = study_cost.expected(todo, done)
    assert found["seconds"].tolist() == pytest.approx([3 * seconds, 90.0, np.nan], nan_ok=True)
    again = study_cost.expected(todo[:1], [*done, (*todo[0], 7.0)])
    assert again["seconds"].item() == 7.0
    assert "nothing is known of 1" in study_cost.said(found, 2)
    assert "nothing is known of what 2 jobs take" in study_cost.said(found.assign(seconds=np.nan).iloc[:2], 2)


def test_hours_share_the_cores_but_no_job_is_split():
    found = pd.DataFrame({"seconds": [3600.0, 1200.0], "bytes": [1e9, 2e9], "memory": [4e9, 1e9]})
    assert study_cost.said(found, 2) == (
        "1.3 core-hours, 1 h with 2 at a time; 3 GB on disk, 5 GB of memory at a time"
    )
    assert "1.3 h with 1 at a time" in study_cost.said(found, 1)


def test_shapes_without_values_are_those_of_a_real_pass():
    for name in ("efficientnet_lite0", "crepe_tiny"):
        assert network_cost.measured(name)["units"] == forecast.plan(name, 1)["units"]


def test_work_of_a_pass_is_that_of_its_products():
    # One matrix product of 2·n·m for each layer of spectro-temporal filters would be far more than is done by
    # Fourier transforms, which are not counted; a convolutional network's own count is published: 0.39 GMAC.
    cost = network_cost.measured("efficientnet_lite0")
    assert cost["flops"] == pytest.approx(2 * 0.39e9, rel=0.05)
    assert cost["largest"] < cost["traffic"]


def test_every_term_has_a_rate_above_0():
    rates = study_cost.rates()
    assert rates["term"].tolist() == list(study_cost.TERMS)
    assert (rates["seconds"] > 0).all()


def test_studies_are_whole():
    from benchmarks import paper_run

    jobs = paper_run.studies()
    # 36 networks, one of them without weights to permute; components have no RDMs to compare.
    assert jobs.groupby(["study", "step"]).size().to_dict() == {
        ("auditory", "extract"): 71 * 3,
        ("auditory", "encode"): 71 * 3,
        ("auditory", "rsa"): 71 * 2,
        ("hierarchy", "extract"): 29,
        ("hierarchy", "decode"): 29,
        ("hierarchy", "bhscore"): 29,
    }
    table = paper_run.totals(jobs).set_index(["study", "step", "target"])
    parts = table.loc[("auditory", ["extract", "encode", "rsa"], "all"), "core_hours"].sum()
    assert parts == pytest.approx(table.loc[("auditory", "all", "all"), "core_hours"], rel=0.01)
    assert (jobs[["seconds", "bytes", "memory"]] > 0).all(axis=None)
