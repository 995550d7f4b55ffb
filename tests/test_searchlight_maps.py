"""Maps of searchlights: scores, ceilings, chance."""

import tracemalloc

import numpy as np
import pytest
import xarray as xr
from scipy import sparse, stats

from lib import ceilings, rdm_comparison, rdm_tests, searchlight_rdms
from lib import searchlight_maps as maps
from lib.searchlight_rdms import Batch

N_STIMULI, N_SUBJECTS, N_CENTRES = 10, 4, 13
NAMES = [f"stimulus {i}" for i in range(N_STIMULI)]
PAIRS = np.triu_indices(N_STIMULI, 1)


@pytest.fixture
def rng():
    return np.random.default_rng(11)


@pytest.fixture
def models(rng):
    values = rng.random((3, N_STIMULI, N_STIMULI))
    coords = {"model": ["x", "y", "z"], "stimulus": NAMES, "stimulus_2": NAMES}
    return xr.DataArray(values + values.swapaxes(1, 2), coords, ("model", "stimulus", "stimulus_2"))


@pytest.fixture
def rdms(rng, models):
    """Subjects' RDMs, of which those of even centres resemble the second model."""
    values = rng.random((N_SUBJECTS, N_CENTRES, 45))
    values[:, ::2] += models.values[1][PAIRS]
    return values


def batches(rdms, size=5):
    for start in range(0, rdms.shape[1], size):
        part = rdms[:, start : start + size]
        yield Batch(start, part, np.full(part.shape[:2], 7))


@pytest.mark.parametrize("comparison", [m for m in rdm_comparison.MEASURES if m != "kendall_tau_a"])
def test_scores_are_similarities_with_subjects(rdms, models, comparison):
    found = maps.evaluate(batches(rdms), models, NAMES, comparison=comparison)
    vectors = models.values[:, *PAIRS]
    expected = [rdm_comparison.similarities(subject, vectors, measure=comparison) for subject in rdms]
    np.testing.assert_allclose(found["subject_score"], expected, atol=1e-12)
    np.testing.assert_allclose(found["score"], np.mean(expected, axis=0), atol=1e-12)
    assert (found["winner"].values[::2] == "y").all()
    assert (found["n_voxels"] == 7).all()


def test_ceilings_are_those_of_mean_ranks(rdms, models):
    found = maps.evaluate(batches(rdms), models, NAMES)
    for centre in range(N_CENTRES):
        expected = ceilings.rdm_bounds(rdms[:, centre], reranked=False)
        bounds = found["lower_ceiling"][centre].item(), found["upper_ceiling"][centre].item()
        assert bounds == pytest.approx(expected, abs=1e-12)
    assert (found["upper_ceiling"].values[:, None] >= found["score"].values).all()


def test_chance_is_that_of_permuted_conditions(rdms, models, rng):
    permutations = np.array([rng.permutation(N_STIMULI) for _ in range(60)])
    found = maps.evaluate(batches(rdms), models, NAMES, permutations=permutations)
    null = []
    for permutation in permutations:
        moved = models.values[:, permutation][:, :, permutation][:, *PAIRS]
        scores = [rdm_comparison.similarities(s, moved, measure="spearman") for s in rdms]
        null.append(np.mean(scores, axis=0))
    null, score = np.array(null), found["score"].values
    np.testing.assert_allclose(found["p"], (1 + (null >= score).sum(axis=0)) / 61)
    largest = null.max(axis=(1, 2))
    np.testing.assert_allclose(found["p_family"], (1 + (largest[:, None, None] >= score).sum(axis=0)) / 61)
    # Permuted models are kept in single precision.
    np.testing.assert_allclose(found["null_95"], np.quantile(null, 0.95, axis=0), atol=1e-6)
    assert (found["p_family"] >= found["p"]).all()
    assert found["p_family"].values[::2, 1].max() == 1 / 61


@pytest.mark.parametrize("comparison", maps.ON_DEVICE)
def test_tensors_give_the_same_maps(rdms, models, rng, comparison):
    torch = pytest.importorskip("torch")
    rdms = rdms.round(1)  # ties
    rdms[1, 3] = np.nan
    permutations = np.array([rng.permutation(N_STIMULI) for _ in range(20)])
    options = {"comparison": comparison, "permutations": permutations}
    expected = maps.evaluate(batches(rdms), models, NAMES, **options)
    moved = (b._replace(rdm=torch.as_tensor(b.rdm)) for b in batches(rdms))
    found = maps.evaluate(moved, models, NAMES, device="cpu", **options)
    for name in expected.data_vars:
        if expected[name].dtype.kind == "f":
            tolerance = 1e-6 if name == "null_95" else 1e-12  # single precision there, double elsewhere
            np.testing.assert_allclose(found[name], expected[name], atol=tolerance, err_msg=name)


@pytest.mark.gpu
def test_a_gpu_gives_the_same_maps(rng, models):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    patterns = {name: rng.normal(size=(N_STIMULI, 200)) for name in "ab"}
    near = {name: sparse.csr_array(rng.random((50, 200)) < 0.2) for name in "ab"}
    permutations = np.array([rng.permutation(N_STIMULI) for _ in range(50)])
    sides = [
        maps.evaluate(
            searchlight_rdms.of_patterns(patterns, near, device=device),
            models, NAMES, permutations=permutations, device=device,
        )
        for device in (None, "cuda")
    ]  # fmt: skip
    for name in ("score", "lower_ceiling", "p", "p_family"):
        np.testing.assert_allclose(sides[1][name], sides[0][name], atol=1e-9, err_msg=name)


def test_subjects_without_an_rdm_are_left_out_and_counted(rdms, models):
    rdms[1, 3] = np.nan
    rdms[2, 3] = 0.5  # does not vary
    rdms[:, 4] = np.nan
    rdms[1:, 5] = np.nan
    permutations = np.array([np.random.default_rng(0).permutation(N_STIMULI) for _ in range(9)])
    found = maps.evaluate(batches(rdms), models, NAMES, permutations=permutations)
    assert found["n_subjects"].values[3:6].tolist() == [2, 0, 1]
    two = maps.evaluate(batches(rdms[[0, 3]]), models, NAMES)
    for name in ("score", "lower_ceiling", "upper_ceiling"):
        np.testing.assert_allclose(found[name][3], two[name][3], atol=1e-12)
    for name in ("score", "p", "p_family", "null_95", "lower_ceiling"):
        assert found[name][4].isnull().all()
    assert found["winner"].values[4] == ""
    assert found["lower_ceiling"][5].isnull()
    assert found["score"][5].notnull().all()
    assert found.attrs["n_undefined"] == 1


def test_models_are_joined_by_stimulus(rdms, models):
    shuffled = models.isel(stimulus=[3, 1, 0, 2, *range(4, 10)])
    expected = maps.evaluate(batches(rdms), models, NAMES)
    xr.testing.assert_allclose(maps.evaluate(batches(rdms), shuffled, NAMES), expected)
    with pytest.raises(ValueError, match="stimulus 9"):
        maps.evaluate(batches(rdms), models[:, :9, :9], NAMES)


def test_comparisons_without_vectors_are_refused(rdms, models):
    with pytest.raises(ValueError, match="comparison in searchlights"):
        maps.evaluate(batches(rdms), models, NAMES, comparison="kendall_tau_a")


def test_models_with_missing_pairs_are_refused(rdms, models):
    models[1, 2, 3] = models[1, 3, 2] = np.nan
    with pytest.raises(ValueError, match=r"model RDMs .'y'. are not finite"):
        maps.evaluate(batches(rdms), models, NAMES)


def test_ranks_are_those_of_scipy(rng):
    torch = pytest.importorskip("torch")
    values = rng.random((5, 30))
    values[2:] = values[2:].round(1)
    expected = stats.rankdata(values, axis=1) - 1
    np.testing.assert_array_equal(maps.ranks(values), expected)
    np.testing.assert_array_equal(maps.ranks(torch.as_tensor(values)).numpy(), expected)


def test_permuted_models_are_the_same_in_pieces(rdms, models, rng, monkeypatch):
    permutations = np.array([rng.permutation(N_STIMULI) for _ in range(30)])
    expected = maps.evaluate(batches(rdms, 13), models, NAMES, permutations=permutations)
    monkeypatch.setattr(maps, "PIECE_BYTES", 1)
    found = maps.evaluate(batches(rdms, 4), models, NAMES, permutations=permutations)
    np.testing.assert_allclose(found["p_family"], expected["p_family"])
    np.testing.assert_allclose(found["p"], expected["p"])
    assert rdm_tests.orders(permutations).shape == (30, 45)


def test_permuted_models_are_held_once(rng):
    vectors = rng.random((8, 45))
    orders = rng.permuted(np.tile(np.arange(N_STIMULI), (4000, 1)), axis=1)
    tracemalloc.start()
    null = maps._Null(vectors, "spearman", orders, None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    places = rdm_tests.orders(orders)
    np.testing.assert_array_equal(
        null.M[:, 4007], maps.embedded(vectors[1:2], "spearman")[0, places[7]].astype("f4")
    )
    # Beside it, where entries go in whole numbers, and one model.
    assert peak < null.M.nbytes + 1.7 * places.nbytes


@pytest.mark.parametrize("n_bytes", [1 << 21, 1 << 23])
def test_memory_stays_within_what_was_allowed(rng, models, n_bytes):
    n_voxels, n_centres = 300, 4000
    patterns = {name: rng.normal(size=(N_STIMULI, n_voxels)) for name in "abc"}
    near = {name: sparse.csr_array(rng.random((n_centres, n_voxels)) < 0.1) for name in "abc"}
    tracemalloc.start()
    found = maps.evaluate(searchlight_rdms.of_patterns(patterns, near, n_bytes=n_bytes), models, NAMES)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Maps come in pieces that are then joined, and patterns once more in the order in which they are read.
    assert (
        peak < n_bytes + 2 * found.nbytes + 2 * sum(values.nbytes for values in patterns.values()) + 300_000
    )
    assert held > found.nbytes / 2


def test_maps_show_significant_winners(rdms, models, rng):
    rdms[:, 4] = np.nan
    permutations = np.array([rng.permutation(N_STIMULI) for _ in range(60)])
    found = maps.evaluate(batches(rdms), models, NAMES, permutations=permutations)
    sides = np.where(np.arange(N_CENTRES) < 6, "left", "right")
    places = {axis: ("centre", np.arange(13.0)) for axis in "xyz"} | {"hemisphere": ("centre", sides)}
    shown = maps.shown(found.assign_coords(places))
    decided = found["p_family"].min("model").values <= 0.05
    expected = np.where(decided, 0.5, np.nan)  # the second of three
    assert decided[::2].sum() == 6
    np.testing.assert_array_equal(shown["relative_position"], expected)
    np.testing.assert_array_equal(shown["score"], found["score"].max("model"))
    assert {"hemisphere", "x", "y", "z"} <= set(shown["n_voxels"].coords)
