"""Released regressions: the printed t tests from the released files, and slow computations on made-up voxels."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

from lib import layers, metamer_results, plotting, released_regressions

NAMES = {"spectemp_filters": "spectemp"}
LAYERS = ("layer1", "layer2", "layer3", "avgpool")
REGIONS = ["tonotopic", "pitch", "music", "speech"]
# Feather, Leclerc, Madry & McDermott (2022), bioRxiv 2022.05.19.492678, released notebook of the regressions: paired t
# over eight participants of the best layers of CochResNet50 against SpectroTemporal, all voxels.
PRINTED_T = 13.120954142150469


@pytest.fixture(scope="module")
def real():
    mirror = os.environ.get("DATA_MIRROR")
    if not mirror:
        pytest.skip("DATA_MIRROR is not set")
    files = sorted(Path(mirror).rglob("voxelwise_regression_*.pckl"))
    assert len(files) >= 4
    return metamer_results.joined([metamer_results.voxel_regression(file) for file in files], LAYERS)


@pytest.fixture(scope="module")
def reference():
    folder = os.environ.get("COMPENDIUM_REFERENCE")
    if not folder:
        pytest.skip("COMPENDIUM_REFERENCE is not set")
    return json.loads((Path(folder) / "metamers.json").read_text(encoding="utf-8"))["fmri"]


def made_up(n=5, seed=0):
    """Two networks, one of three layers and one of one; regions that overlap, one without a voxel of a subject."""
    rng = np.random.default_rng(seed)
    subject = np.repeat([f"s{i}" for i in range(n)], 6)
    r2 = rng.random((2, 4, 6 * n, 3))
    r2[0, 3] = r2[1, :3] = np.nan
    r2[0, 1] += 0.5
    r2[0, 0, 2, 1] = np.nan
    inside = np.zeros((2, 6 * n), bool)
    inside[0, ::2] = inside[1, 3::6] = inside[1, 2::6] = True
    inside[1, subject == "s1"] = False
    coords = {
        "model": ["net", "bank_filters"],
        "layer": ["a", "b", "c", "only"],
        "voxel": np.arange(6 * n).astype(str),
        "region": ["pitch", "music"],
        "subject": ("voxel", subject),
    }
    variables = {"r2": (("model", "layer", "voxel", "split"), r2), "in_roi": (("region", "voxel"), inside)}
    return xr.Dataset(variables, coords)


@pytest.mark.mirror
def test_t_of_the_released_files_is_the_printed_one(real):
    found = released_regressions.tests(released_regressions.best_layers(released_regressions.subjects(real)))
    row = found[found["part"] == "all"].iloc[0]
    assert (row["model"], row["other"], row["df"]) == ("cochresnet50", "spectemp_filters", 7)
    assert row["t"] == pytest.approx(PRINTED_T, rel=1e-12)
    # printed to four digits, the smallest that 256 swaps can give
    assert row["p_published"] == 0.00390625
    assert row["p_swap"] == 2 / 256


@pytest.mark.mirror
@pytest.mark.reference
def test_tests_of_all_regions_equal_the_reference(real, reference):
    found = released_regressions.tests(released_regressions.best_layers(released_regressions.subjects(real)))
    found = found.set_index("part")
    for part in ("all", *REGIONS):
        said = reference["paired_tests"][f"cochresnet50 > spectemp_filters | {name_of(part)}"]
        # the reference has 12 digits
        assert found.loc[part, "t"] == pytest.approx(said["t"], rel=1e-11)
        assert found.loc[part, "p"] == pytest.approx(said["p_two_sided"], rel=1e-10)
        assert found.loc[part, "df"] == said["df"]
        # stated one-sided
        assert found.loc[part, "p_swap"] == 2 * said["exact_signflip_p_ge"]


def name_of(part):
    return "all_aud_voxels" if part == "all" else part


@pytest.mark.mirror
@pytest.mark.reference
def test_medians_means_and_best_layers_equal_the_reference(real, reference):
    values = released_regressions.subjects(real)
    chosen = released_regressions.best_layers(values)
    means = released_regressions.means(chosen).set_index(["model", "part"])
    for model in ("cochresnet50", "spectemp_filters"):
        known = reference["models"][model]
        here = [
            layer
            for layer in LAYERS
            if layer in known["layers"] and not (model[0] == "c" and layer == "avgpool")
        ]
        at = [known["layers"].index(layer) for layer in here]
        medians = released_regressions.voxel_medians(real).sel(model=model, layer=here).median("voxel")
        np.testing.assert_allclose(medians, np.array(known["allvoxel_median"])[at], rtol=1e-11)
        for part in ("all", *REGIONS):
            said, each = known["rois"][name_of(part)], values.sel(model=model, part=part, layer=here)
            np.testing.assert_allclose(
                each.mean("subject"), np.array(said["participant_layer_mean"])[at], rtol=1e-11
            )
            np.testing.assert_allclose(
                each.std("subject", ddof=1), np.array(said["participant_layer_sd"])[at], rtol=1e-10
            )
            best = chosen[(chosen["model"] == model) & (chosen["part"] == part)]
            assert best["layer"].tolist() == said["loo_best_layer"]
            np.testing.assert_allclose(best["value"], said["loo_value_per_participant"], rtol=1e-11)
            row = means.loc[(model, part)]
            assert row["value"] == pytest.approx(said["loo_mean"], rel=1e-11)
            half = stats.t.ppf(0.975, 7) * said["loo_sem_ddof1"]
            assert (row["low"], row["high"]) == pytest.approx(
                (row["value"] - half, row["value"] + half), rel=1e-9
            )


@pytest.mark.mirror
@pytest.mark.reference
def test_the_auditory_aggregation_gives_its_stated_values(real):
    # By the aggregation of the auditory study (limited to 1 after the median over splits), stated to four decimals.
    folder = os.environ.get("COMPENDIUM_REFERENCE")
    if not folder:
        pytest.skip("COMPENDIUM_REFERENCE is not set")
    stated = json.loads((Path(folder) / "auditory_published.json").read_text(encoding="utf-8"))[
        "sister_repo_numbers"
    ]
    each = layers.subject_medians(layers.over_splits(real["r2"], clip=1))
    spectemp = each.sel(model="spectemp_filters", layer="avgpool")
    (said,) = [s for s in stated if s["quantity"].startswith("SpectroTemporal avgpool")]
    assert float(spectemp.mean()) == pytest.approx(said["value"], abs=5.1e-5)
    np.testing.assert_allclose(spectemp, said["per_participant"], atol=5.1e-5)
    for layer in ("layer1", "layer2", "layer3"):
        (said,) = [
            s for s in stated if s["quantity"].startswith(f"cochresnet50 (CochResNet50 word) layer {layer}:")
        ]
        found = each.sel(model="cochresnet50", layer=layer).mean()
        assert float(found) == pytest.approx(said["value"], abs=5.1e-5)


@pytest.mark.mirror
def test_numbers_have_the_names_that_others_rely_on(real):
    numbers = released_regressions.quotable(real, target="metamer_recognition", names=NAMES).set_index("name")
    assert numbers.index.is_unique
    row = numbers.loc["encode/metamer_recognition/cochresnet50/t/spectemp"]
    assert row["value"] == pytest.approx(PRINTED_T, rel=1e-12)
    assert row["n"] == 8
    assert "df = 7, p = 3.48e-06" in row["what"]
    row = numbers.loc["encode/metamer_recognition/cochresnet50/difference/spectemp"]
    assert row["low"] < row["value"] < row["high"]
    for region in REGIONS:
        assert f"encode/metamer_recognition/cochresnet50/t/spectemp/{region}" in numbers.index
    assert numbers.loc["encode/metamer_recognition/cochresnet50/median/layer2", "value"] == pytest.approx(
        0.748375, abs=1e-6
    )


def test_subjects_are_medians_of_medians_in_overlapping_regions():
    released = made_up()
    found = released_regressions.subjects(released)
    assert found.dims == ("model", "part", "layer", "subject")
    medians = np.nanmedian(released["r2"].values[0, :3], axis=2)
    for p, part in enumerate(["all", "pitch", "music"]):
        mask = released["in_roi"].values[p - 1] if p else np.ones(30, bool)
        for subject in found["subject"].values:
            here = mask & (released["subject"] == subject).values
            got = found.sel(model="net", part=part, subject=subject, layer=["a", "b", "c"])
            if here.any():
                np.testing.assert_allclose(got, np.median(medians[:, here], axis=1))
            else:
                assert (part, subject) == ("music", "s1")
                assert got.isnull().all()
    assert found.sel(model="net", layer="only").isnull().all()


def test_the_layer_is_chosen_by_the_other_subjects_within_the_layers_of_a_network():
    found = released_regressions.subjects(made_up())
    chosen = released_regressions.best_layers(found)
    assert set(chosen[chosen["model"] == "net"]["layer"]) == {"b"}
    assert set(chosen[chosen["model"] == "bank_filters"]["layer"]) == {"only"}
    one = chosen[(chosen["model"] == "net") & (chosen["part"] == "pitch") & (chosen["subject"] == "s3")]
    assert one["value"].item() == found.sel(model="net", part="pitch", layer="b", subject="s3")


def test_networks_are_compared_over_the_subjects_that_both_have():
    chosen = released_regressions.best_layers(released_regressions.subjects(made_up()))
    found = released_regressions.tests(chosen).set_index("part")
    assert found["n"].tolist() == [5, 5, 4]
    wide = chosen[chosen["part"] == "pitch"].pivot_table(index="subject", columns="model", values="value")
    expected = stats.ttest_rel(wide["net"], wide["bank_filters"])
    assert found.loc["pitch", "t"] == pytest.approx(expected.statistic)
    assert found.loc["pitch", "p"] == pytest.approx(expected.pvalue)


def test_numbers_of_any_networks_can_be_saved(tmp_path):
    both = released_regressions.quotable(made_up(), target="Toy", names={"bank_filters": "bank"})
    assert {"encode/toy/net/t/bank", "encode/toy/net/t/bank/music", "encode/toy/bank/median/only"} <= set(
        both["name"]
    )
    alone = released_regressions.quotable(made_up().isel(model=[0]), target="other", names={})
    assert not alone["name"].str.contains("/t/").any()
    plotting.save_numbers(pd.concat([both, alone]), tmp_path / "numbers.csv")
