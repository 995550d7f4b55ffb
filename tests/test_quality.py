"""What is shown of a data set's quality: counts, planted ceilings, coverage of intervals, real data sets."""

import os

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

from lib import ceilings, datasets, plugins, quality, reliability

SUBJECTS = ("a", "b", "c", "d")


def voxel_set(Y, *, subjects=SUBJECTS, rois=("V1", "V2", "")):
    """A data set of voxels, which belong to subjects and regions in turn."""
    voxel = np.arange(Y.shape[2])
    subject = [subjects[i] for i in voxel * len(subjects) // len(voxel)]
    coords = {
        "repeat": np.arange(len(Y)),
        "stimulus": [f"s{i}" for i in range(Y.shape[1])],
        "voxel": [f"v{i}" for i in voxel],
        "subject": ("voxel", subject),
        "roi": ("voxel", [rois[i % len(rois)] for i in voxel]),
    }
    attrs = {"kind": "voxel"}
    return xr.Dataset({"response": (("repeat", "stimulus", "voxel"), Y)}, coords=coords, attrs=attrs)


def responses(n_repeats=3, n_stimuli=60, n_voxels=48, share=0.4, *, seed=0, common=0.0):
    """Responses of which a share is signal; all voxels have a part of signal and of noise in common."""
    rng = np.random.default_rng(seed)

    def values(n):
        own, shared = rng.standard_normal((n, n_stimuli, n_voxels)), rng.standard_normal((n, n_stimuli, 1))
        return np.sqrt(1 - common) * own + np.sqrt(common) * shared

    return np.sqrt(share) * values(1) + np.sqrt(1 - share) * values(n_repeats)


def rdm_set(n_repeats=2, n_subjects=4, n_stimuli=16, seed=0):
    """A data set of RDMs of two regions, the second of a single subject in one repeat."""
    rng = np.random.default_rng(seed)
    patterns = rng.standard_normal((n_stimuli, 5)) @ rng.standard_normal((n_repeats, n_subjects, 2, 5, 30))
    patterns = patterns + 2 * rng.standard_normal(patterns.shape)
    rdm = np.array([[[1 - np.corrcoef(p) for p in subject] for subject in repeat] for repeat in patterns])
    rdm[:, :, 1] = np.where(np.arange(n_subjects)[:, None, None] == 0, rdm[:, :, 1], np.nan)
    rdm[1:, :, 1] = np.nan
    names = [f"s{i}" for i in range(n_stimuli)]
    coords = {
        "repeat": np.arange(n_repeats),
        "subject": list(SUBJECTS[:n_subjects]),
        "roi": ["IT", "monkey"],
        "stimulus": names,
        "stimulus_2": names,
    }
    dims = ("repeat", "subject", "roi", "stimulus", "stimulus_2")
    return xr.Dataset({"rdm": (dims, rdm)}, coords=coords, attrs={"kind": "rdm"})


def recognition(n_participants=12, seed=0):
    """Recognition of metamers of two models whose natural stimuli are the same trials."""
    rng = np.random.default_rng(seed)
    rows = []
    for participant in range(n_participants):
        natural = rng.binomial(20, 0.9) / 20
        for model in ("alexnet", "vgg_19"):
            for layer, p in zip(
                ("natural", "early", "late"), (None, 0.8, 0.3 + 0.3 * (model == "vgg_19")), strict=True
            ):
                value = natural if p is None else rng.binomial(20, p) / 20
                rows.append(("vision_exp1", participant, layer, model, "human", value))
                rows.append(("vision_exp1", participant, layer, model, "network", 0.5))
    columns = ["experiment", "participant", "layer", "model", "observer", "proportion_correct"]
    return pd.DataFrame(rows, columns=columns)


def table(contents, seed=0, n_resamples=60):
    """Its reliability, by region and quantity."""
    found = quality.reliability(contents, n_resamples=n_resamples, rng=np.random.default_rng(seed))
    assert list(found.columns) == quality.COLUMNS
    assert (found["low"].isna() | (found["low"] <= found["estimate"])).all()
    assert (found["high"].isna() | (found["estimate"] <= found["high"])).all()
    return found.set_index(["roi", "quantity"])


def test_counts_of_responses():
    data = voxel_set(responses())
    stated = {"stimuli": 60, "voxels": 50, "subjects": 4, "rois": None, "repeats": 3}
    found = quality.counts({"responses": data, "stimuli": None}, stated)
    assert found["what"].tolist() == list(stated)
    assert found["here"].tolist() == [60, 48, 4, 2, 3]
    assert found["agree"].tolist() == ["yes", "no", "yes", "", "yes"]
    assert found["stated"].isna().tolist() == [False, False, False, True, False]


def test_counts_take_in_held_out_stimuli_and_overlapping_regions():
    data = voxel_set(responses())
    test = xr.DataArray(responses(5, 7), dims=("test_repeat", "test_stimulus", "voxel"))
    inside = np.zeros((3, 48), bool)
    inside[:2, :5] = True
    data = data.assign(test_response=test, in_roi=(("region", "voxel"), inside))
    data = data.assign_coords(region=["V1", "LO", "empty"])
    stated = {"stimuli": 67, "rois": 3, "test_repeats": 5}
    assert quality.counts({"responses": data}, stated)["agree"].tolist() == ["yes"] * 3


def test_counts_of_rdms_leave_out_what_was_not_measured():
    data = rdm_set()
    data["rdm"][:, 3] = np.nan
    stated = {"stimuli": 16, "voxels": None, "subjects": 3, "rois": 2, "repeats": 2}
    found = quality.counts({"responses": data}, stated).set_index("what")
    assert found["agree"].tolist() == ["yes", "", "yes", "yes", "yes"]
    assert found["here"].isna().tolist() == [False, True, False, False, False]


def test_counts_of_results():
    scores = xr.Dataset({"r2": (("layer", "voxel"), np.zeros((3, 4)))}, coords={"voxel": list("abcd")})
    scores = scores.assign_coords(subject=("voxel", ["x", "x", "y", "y"]), layer=[1, 2, 3])
    contents = {"recognition": recognition(), "scores": scores}
    stated = {"recognition.participant": 12, "recognition.model": 3, "scores.layer": 3}
    stated |= {"voxels": 4, "subjects": 2, "stimuli": None}
    found = quality.counts(contents, stated)
    assert found["agree"].tolist() == ["yes", "no", "yes", "yes", "yes", ""]


@pytest.mark.parametrize(
    ("contents", "stated", "message"),
    [
        ({"responses": voxel_set(responses())}, {"voxel": 48}, "did you mean voxels"),
        ({"responses": voxel_set(responses())}, {"test_repeats": 24}, "did you mean repeats"),
        ({"responses": rdm_set()}, {"voxels": 316}, "unknown count"),
        (
            {"recognition": recognition()},
            {"recognition.participants": 12},
            "did you mean recognition.participant",
        ),
        ({"recognition": recognition()}, {"voxels": 7694}, "unknown count"),
    ],
)
def test_counts_of_what_is_not_there_are_an_error(contents, stated, message):
    with pytest.raises(ValueError, match=message):
        quality.counts(contents, stated)


def test_voxels_are_the_ceilings_in_blocks(monkeypatch):
    Y = responses()
    Y[1, 3, 7] = np.nan
    monkeypatch.setattr(quality, "BLOCK", 1000)
    found = quality.voxels(voxel_set(Y).transpose("voxel", ...))
    np.testing.assert_allclose(found["repeat_r"], ceilings.repeat_correlation(Y)[0], rtol=1e-9)
    np.testing.assert_allclose(found["explainable_variance"], ceilings.explainable_variance(Y)[0], rtol=1e-9)
    assert found["roi"].tolist()[:3] == ["V1", "V2", ""]
    np.testing.assert_allclose(
        found["repeat_r"].drop(7), reliability.single_repeat_reliability(Y)[np.arange(48) != 7], rtol=1e-9
    )


def test_regions_are_medians_over_voxels_then_means_over_subjects():
    data = voxel_set(responses())
    found = table({"responses": data})
    single = quality.voxels(data)
    for roi, part in (("all voxels", single), *((r, single[single["roi"] == r]) for r in ("V1", "V2"))):
        medians = part.groupby("subject")["explainable_variance"].median().to_numpy()
        row = found.loc[(roi, "explainable variance")]
        low, high = stats.t.interval(0.95, 3, medians.mean(), stats.sem(medians))
        np.testing.assert_allclose(
            row[["estimate", "low", "high"]].astype(float), (medians.mean(), low, high)
        )
        assert row["n"] == 4
        assert row["unit"] == "subject"
    assert set(found.index.get_level_values("roi")) == {"all voxels", "V1", "V2"}


def test_order_of_stimuli_repeats_and_voxels_does_not_matter():
    rng = np.random.default_rng(0)
    data = voxel_set(responses())
    orders = {d: rng.permutation(n) for d, n in data["response"].sizes.items()}
    one, other = (table({"responses": d}) for d in (data, data.isel(orders)))
    pd.testing.assert_frame_equal(one, other.loc[one.index], rtol=1e-9)


def test_held_out_stimuli_have_rows_of_their_own():
    data = voxel_set(responses(1))
    test = xr.DataArray(responses(24, 20), dims=("test_repeat", "test_stimulus", "voxel"))
    found = table({"responses": data.assign(test_response=test)})
    row = found.loc[("V1", "explainable variance"), ["n", "unit", "undefined"]]
    assert row.tolist() == [0, "one repeat", 16]
    assert found.loc[("V1", "explainable variance (test stimuli)"), "estimate"] > 0.8
    columns = quality.voxels(data.assign(test_response=test)).columns
    assert {"test_repeat_r", "test_explainable_variance"} <= set(columns)


def test_overlapping_regions_are_listed():
    inside = np.zeros((2, 48), bool)
    inside[0, ::2] = True
    inside[1, :40] = True
    data = voxel_set(responses()).assign(in_roi=(("region", "voxel"), inside))
    found = table({"responses": data.assign_coords(region=["LO", "V1"])})
    assert list(dict.fromkeys(found.index.get_level_values("roi"))) == ["all voxels", "V1", "V2", "LO"]
    own = table({"responses": voxel_set(responses()).isel(voxel=inside[1])})
    pd.testing.assert_series_equal(
        found.loc[("V1", "single-repeat r")],
        own.loc[("all voxels", "single-repeat r")],
        check_names=False,
    )


def test_voxels_without_a_value_are_counted():
    Y = responses()
    Y[1:, :, 3] = np.nan
    Y[:, :, 6] = 0.1
    found = table({"responses": voxel_set(Y)})
    assert found.loc[("all voxels", "explainable variance"), "undefined"] == 2
    assert found.loc[("V1", "single-repeat r"), "undefined"] == 2
    assert found.loc[("V2", "single-repeat r"), "undefined"] == 0
    Y[:, :, 1::3] = 1.0
    assert table({"responses": voxel_set(Y)}).loc[("V2", "single-repeat r"), "unit"] == "no value"


def test_perfect_repeats_are_one():
    Y = np.repeat(responses(1), 3, axis=0)
    for subjects in (SUBJECTS, ("a",)):
        found = table({"responses": voxel_set(Y, subjects=subjects)})
        np.testing.assert_allclose(found[["estimate", "low", "high"]].to_numpy(float), 1, rtol=1e-10)


@pytest.mark.parametrize("subjects", [SUBJECTS, ("a",)])
def test_intervals_of_pure_noise_hold_zero(subjects):
    found = table({"responses": voxel_set(responses(share=0.0), subjects=subjects)})
    whole = found.loc["all voxels"]
    assert (whole["low"] < 0).all()
    assert (whole["high"] > 0).all()


def covered(truth, simulated, n):
    """Share of simulations whose interval holds the truth, and the tolerance of a share of 95 %."""
    hits = [low <= truth <= high for low, high in simulated]
    assert len(hits) == n
    return np.mean(hits), 3 * np.sqrt(0.95 * 0.05 / n)


@pytest.mark.parametrize(
    ("subjects", "share", "n_voxels", "common"),
    [(("a",), 0.3, 5, 0.5), (("a",), 0, 1, 0), (SUBJECTS, 0.3, 12, 0)],
)
def test_intervals_hold_the_planted_ceiling_as_often_as_they_say(subjects, share, n_voxels, common):
    n, truth = 300, reliability.spearman_brown(share, 3)

    def interval(seed):
        Y = responses(3, 80, n_voxels, share, seed=seed, common=common)
        data = voxel_set(Y, subjects=subjects, rois=("",))
        rows = quality.reliability({"responses": data}, n_resamples=100, rng=np.random.default_rng(seed))
        return rows.set_index("quantity").loc["explainable variance", ["low", "high"]]

    share_held, tolerance = covered(truth, map(interval, range(n)), n)
    assert share_held == pytest.approx(0.95, abs=tolerance)


def test_a_single_subject_is_judged_by_its_stimuli():
    row = table({"responses": voxel_set(responses(), subjects=("a",))}).loc[("V1", "single-repeat r")]
    assert row["n"] == 60
    assert row["unit"] == "stimulus"


def test_chunks_of_halves_change_nothing(monkeypatch):
    data = {"responses": voxel_set(responses(), subjects=("a",))}
    whole = table(data)
    monkeypatch.setattr(quality, "BLOCK", 300)
    pd.testing.assert_frame_equal(table(data), whole, rtol=1e-9)


def test_halves_are_disjoint_and_equal():
    first, second = quality._halves(7, 50, np.random.default_rng(0))
    assert not (first & second).any()
    assert (first.sum(axis=1) == 3).all()
    assert (second.sum(axis=1) == 3).all()
    assert (first.sum(axis=0) > 0).all()


def test_variance_from_halves_is_that_of_means_and_of_pairs():
    rng = np.random.default_rng(0)
    n, runs = 20, 400
    halves = quality._halves(n, 300, rng).astype(float)

    def scale(value, *, back=False):
        return value + 0 * back

    def variance(values, of_pairs):
        known = quality.Halves(values, n, "unit", of_pairs=of_pairs)
        low, high = quality._bounds(0.0, known, scale=scale)
        return ((high - low) / 2 / stats.t.ppf(0.975, n - 1)) ** 2

    # The mean of n values of variance 1/100, and the mean of the products of their pairs, of variance 1 each.
    means = [halves @ rng.standard_normal(n) / 100 for _ in range(runs)]
    pairs = [((halves @ x) ** 2 - halves @ x**2) / 90 for x in rng.standard_normal((runs, n))]
    # Estimates scatter with a relative standard deviation of √(2/19), and about 1.5 for pairs: 4 standard errors
    # of the mean over the runs are 7 % and 30 %.
    for of_pairs in (False, True):
        assert np.mean([variance(v, of_pairs) for v in means]) == pytest.approx(1 / 100 / n, rel=0.08)
    assert np.mean([variance(v, False) for v in pairs]) == pytest.approx(1 / 90, rel=0.3)
    # The floor under the difference makes up for much of what was subtracted where there are pairs alone.
    assert 0.7 < np.mean([variance(v, True) for v in pairs]) / (2 / n / (n - 1)) < 1.5


def test_rdms_have_bounds_of_the_means_over_repeats():
    data = rdm_set()
    found = table({"responses": data})
    a, b = np.triu_indices(16, 1)
    it = data["rdm"].sel(roi="IT").values[..., a, b]
    bounds = ceilings.rdm_bounds(it.mean(axis=0))
    np.testing.assert_allclose(found.loc[("IT", "lower noise ceiling"), "estimate"], bounds[0], rtol=1e-12)
    np.testing.assert_allclose(found.loc[("IT", "upper noise ceiling"), "estimate"], bounds[1], rtol=1e-12)
    repeats = [stats.spearmanr(*it[:, s]).statistic for s in range(4)]
    row = found.loc[("IT", "single-repeat r")]
    np.testing.assert_allclose(
        row[["estimate", "low", "high"]].astype(float),
        (np.mean(repeats), *stats.t.interval(0.95, 3, np.mean(repeats), stats.sem(repeats))),
    )
    assert found.loc["IT", "unit"].tolist() == ["stimulus", "stimulus", "subject"]
    assert found.loc["monkey", "unit"].tolist() == ["one subject", "one subject", "one repeat"]
    assert found.loc["monkey", "undefined"].tolist() == [3, 3, 3]
    assert found.loc["monkey", "estimate"].isna().all()


def test_repeats_of_a_single_subjects_rdms_are_judged_by_stimuli():
    data = rdm_set().sel(roi=["IT"]).isel(subject=[1])
    row = table({"responses": data}).loc[("IT", "single-repeat r")]
    assert row["unit"] == "stimulus"
    assert row["low"] < row["estimate"] < row["high"]


def test_order_of_stimuli_does_not_matter_for_rdms():
    data = rdm_set()
    order = np.random.default_rng(0).permutation(16)
    one, other = (table({"responses": d}) for d in (data, data.isel(stimulus=order, stimulus_2=order)))
    np.testing.assert_allclose(one["estimate"], other["estimate"], rtol=1e-10)


def test_intervals_of_rdm_bounds_hold_their_expectation():
    n, n_stimuli = 100, 24
    mixing = np.random.default_rng(0).standard_normal((4, 6, 30))
    a, b = np.triu_indices(n_stimuli, 1)

    def people(seed):
        rng = np.random.default_rng(seed)
        patterns = rng.standard_normal((n_stimuli, 6)) @ mixing + 3 * rng.standard_normal((4, n_stimuli, 30))
        return np.array([(1 - np.corrcoef(p))[a, b] for p in patterns])

    def interval(seed):
        rdms = people(seed)
        halved = quality._halved_rdms(
            rdms[:, None], quality._halves(n_stimuli, 60, np.random.default_rng(seed))
        )
        known = quality.Halves(halved[0], n_stimuli, "stimulus", of_pairs=True)
        return quality._bounds(ceilings.rdm_bounds(rdms)[0], known, scale=quality._correlation_scale)

    truth = np.mean([ceilings.rdm_bounds(people(10_000 + seed))[0] for seed in range(300)])
    # The bootstrap over stimuli holds it in 99 to 100 %, being 1.25 to 1.4 times too wide.
    share_held, tolerance = covered(truth, map(interval, range(n)), n)
    assert share_held == pytest.approx(0.95, abs=tolerance)


def test_recognition_counts_natural_stimuli_once():
    found = table({"recognition": recognition()}).loc[("vision_exp1", "split-half reliability")]
    human = recognition().query("observer == 'human' and not (layer == 'natural' and model == 'vgg_19')")
    profiles = human.groupby(["participant", "model", "layer"])["proportion_correct"].first().to_numpy()
    assert found["estimate"] == pytest.approx(ceilings.split_half(profiles.reshape(12, 5))[0], rel=1e-12)
    assert found[["n", "unit", "undefined"]].tolist() == [12, "participant", 0]
    assert found["low"] < found["estimate"] < found["high"] < 1


def test_conditions_that_some_have_not_seen_are_left_out_and_counted():
    full = recognition()
    lost = (full["participant"] == 3) & (full["layer"] == "late") & (full["model"] == "alexnet")
    found = table({"recognition": full[~lost]}).loc[("vision_exp1", "split-half reliability")]
    kept = full[~((full["layer"] == "late") & (full["model"] == "alexnet"))]
    expected = table({"recognition": kept}).loc[("vision_exp1", "split-half reliability")]
    assert found["estimate"] == expected["estimate"]
    assert found["undefined"] == 1
    assert expected["undefined"] == 0


def test_results_without_people_are_an_empty_table_or_an_error():
    assert table({"scores": pd.DataFrame({"r2": [0.5]})}).empty
    one = table({"recognition": recognition(1)}).iloc[0]
    assert np.isnan(one["estimate"])
    assert one["unit"] == "one participant"
    with pytest.raises(ValueError, match="unknown observer 'human'"):
        table({"recognition": recognition().replace("human", "humans")})


@pytest.mark.mirror
@pytest.mark.parametrize("name", ["objects92", "images78", "metamer_recognition"])
def test_real_data_sets(name, tmp_path, monkeypatch):
    if "DATA_MIRROR" not in os.environ:
        pytest.skip("DATA_MIRROR is not set")
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path))
    contents = datasets.contents(name)
    counted = quality.counts(contents, plugins.about("target", name)["COUNTS"])
    found = table(contents, n_resamples=20)
    if name == "objects92":
        assert (counted["agree"] != "no").all()
        assert found.loc[("human_it", "lower noise ceiling"), "estimate"] == pytest.approx(0.3723, abs=5e-5)
        assert found.loc[("human_it", "single-repeat r"), "n"] == 4
        assert found.loc[("monkey_it", "upper noise ceiling"), "unit"] == "one subject"
    elif name == "images78":
        assert (counted["agree"] != "no").all()
        assert (found["unit"].isin(["stimulus", "one repeat"])).all()
    else:
        # 20 people, natural and metamers of dozens of layers from 0.02 to 0.95: hardly anything is noise.
        assert (found["estimate"] > 0.98).all()
        assert found.loc[("vision_exp1", "split-half reliability"), "n"] == 22
