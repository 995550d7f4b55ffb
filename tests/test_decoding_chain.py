"""Files in the formats of the release go through download, features, decoding and score, and come out as planted.

Beside it stands the published procedure, written plainly from its description, on the same files.
"""

import numpy as np
import pytest
import test_bdata
from scipy import stats
from test_released import feature_zips

from lib import artefacts, bhscore, datasets, decoding, features, folds, models, selected_encoding
from lib.datasets import deeprecon

HOST = "ndownloader.figshare.com"
MODEL, FOLDER = "released_cornet_s", "CORnet_S"
LAYERS = ("V1_conv1_abs", "V1_output", "V2_output", "V4_output", "IT_output", "decoder_linear")
# Layer l reads latent l; each region, but the last two layers share one.
LATENT = dict(zip(LAYERS, (0, 0, 1, 2, 3, 4), strict=True))
REGIONS = ("V1", "V2", "V3", "V4", "HVC")
TRAINING = [f"n{i % 7:02d}_{1 + i * 37 % 211}" for i in range(40)]
TEST = [f"n9{i % 4}_{3 + i * 11}" for i in range(50)]
N_UNITS, N_VOXELS, N_SELECTED = 8, 9, 5
REPEATS = {"Training": 3, "Test": 4}
SUBJECTS = ("sub-01", "sub-02", "sub-03")
ALPHA = 100.0


def planted(rng):
    """Latents by image, features by layer, and the weights of voxels of each subject and region."""
    latents = {name: rng.standard_normal((5, 2)) for name in TRAINING + TEST}
    mixing = {layer: rng.standard_normal((2, N_UNITS)) for layer in LAYERS}
    values = {
        name: {
            layer: (latents[name][LATENT[layer]] @ mixing[layer] + 3 + 0.05 * rng.standard_normal(N_UNITS))
            .astype(np.float32)[None]
            for layer in LAYERS
        }
        for name in latents
    }  # fmt: skip
    weights = {s: rng.standard_normal((5, 2, N_VOXELS)) for s in SUBJECTS}
    return latents, values, weights


def session(latents, weights, names, n_repeats, rng):
    """Samples and metadata of a session, presentations in random order; V2 shares its first voxel with V1's last."""
    shown = rng.permutation(np.repeat(sorted(names), n_repeats))
    ranks = np.searchsorted(sorted(names), shown)
    signal = np.stack([np.einsum("kd,kdv->kv", latents[n], weights).ravel() for n in shown])
    voxels = 100 + 2 * (signal + 1.5 * rng.standard_normal(signal.shape))
    samples = np.column_stack([voxels, 1 + ranks, 0.5 + ranks])
    n = voxels.shape[1]

    def row(columns):
        values = np.full(n + 2, np.nan)
        values[list(columns)] = 1
        return values

    members = {"VoxelData": row(range(n)), "image_index": row([n]), "stimulus_name": row([n + 1])}
    for k, region in enumerate(REGIONS):
        first = k * N_VOXELS - (region == "V2")
        members[f"ROI_{region}"] = row(range(first, (k + 1) * N_VOXELS))
    return samples, members, {"stimulus_name": {0.5 + i: name for i, name in enumerate(sorted(names))}}


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """Everything written as released, loaded, extracted, decoded and encoded; and the files' contents."""
    folder, rng = tmp_path_factory.mktemp("chain"), np.random.default_rng(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATA_MIRROR", str(folder / "mirror"))
        patch.setenv("COMPENDIUM_HOME", str(folder / "home"))
        patch.setattr(deeprecon, "STIMULI", {"Training": len(TRAINING), "Test": len(TEST)})
        patch.setattr(deeprecon, "REPEATS", REPEATS)
        (folder / "mirror" / HOST / "files").mkdir(parents=True)
        latents, values, weights = planted(rng)
        files = {}
        for subject in SUBJECTS:
            for kind, names in (("Training", TRAINING), ("Test", TEST)):
                files[subject, kind] = session(latents, weights[subject], names, REPEATS[kind], rng)
                samples, members, codes = files[subject, kind]
                path = folder / "mirror" / HOST / "files" / deeprecon.FILES[subject][kind]
                test_bdata.write(path, samples, members, names=codes)
        images = {
            f"ImageNet{kind}": {n: values[n] for n in names}
            for kind, names in (("Training", TRAINING), ("Test", TEST))
        }
        feature_zips("pytorch", FOLDER, images)
        responses, stimuli = datasets.load("deeprecon")
        responses = folds.scheme(responses, "fixed")
        source = artefacts.directory("extract", model=MODEL, target="deeprecon") / "features.nc"
        features.extract(models.load(MODEL), stimuli, source, target="deeprecon")
        found = {}
        for published in ("nonaka2021", None):
            settings = decoding.Settings(alpha=ALPHA, n_selected=N_SELECTED, published=published)
            place = folder / str(published)
            found["decoding", published] = decoding.decode(source, responses, place, settings=settings)
            found["encoding", published] = selected_encoding.encode(
                source, responses, place, settings=settings
            )
        return {"files": files, "values": values, "found": found, "folder": folder}


# The published procedure, plainly


def selected_ridge(X, Y, *, penalised=True):
    """Weights and biases target by target, from all samples, one system each."""
    n, v = X.shape
    W, b = np.zeros((v, Y.shape[1])), np.zeros(Y.shape[1])
    for u in range(Y.shape[1]):
        r = [abs(np.corrcoef(X[:, j], Y[:, u])[0, 1]) for j in range(v)]
        chosen = np.argsort(r)[-min(N_SELECTED, v) :]
        A = np.column_stack([X[:, chosen], np.ones(n)])
        penalty = np.eye(len(chosen) + 1) * ALPHA
        penalty[-1, -1] = ALPHA if penalised else 0
        solution = np.linalg.solve(A.T @ A + penalty, A.T @ Y[:, u])
        W[chosen, u], b[u] = solution[:-1], solution[-1]
    return W, b


def single(values):
    return np.asarray(values, np.float32).astype(float)


def correlations(a, b):
    return np.array([np.corrcoef(x, y)[0, 1] for x, y in zip(a.T, b.T, strict=True)])


def normalised(files, subject, region):
    """Train rows, their images, and test means of a region, as published."""
    sides = {}
    for kind in ("Training", "Test"):
        samples, members, _ = files[subject, kind]
        sides[kind] = samples[:, members[f"ROI_{region}"] == 1], samples[:, -2].astype(int)
    (x, index), (raw, shown) = sides["Training"], sides["Test"]
    mean, deviation = x.mean(axis=0), x.std(axis=0, ddof=1)
    means = np.stack([raw[shown == i].mean(axis=0) for i in np.unique(shown)])
    test = (means - mean.astype(np.float32)) / deviation.astype(np.float32)
    return single((x - mean) / deviation), index, single(test), means


def published_decoding(files, values, layer, subject, region):
    X, index, test, _ = normalised(files, subject, region)
    y = np.concatenate([values[name][layer] for name in sorted(TRAINING)])
    y_test = np.concatenate([values[name][layer] for name in sorted(TEST)])
    mean, deviation = y.mean(axis=0), y.std(axis=0, ddof=1)
    Y = single((y - mean) / deviation)[index - 1]
    W, b = selected_ridge(X, Y)
    decoded = (test @ single(W) + single(b)) * deviation + mean
    return decoded, correlations(decoded, y_test)


def published_encoding(files, values, layer, subject, region):
    Y, index, _, means = normalised(files, subject, region)
    y = np.concatenate([values[name][layer] for name in sorted(TRAINING)])
    y_test = np.concatenate([values[name][layer] for name in sorted(TEST)])
    mean, deviation = y.mean(axis=0), y.std(axis=0, ddof=1)
    W, b = selected_ridge(single((y - mean) / deviation)[index - 1], Y)
    predicted = single((y_test - mean) / deviation) @ single(W) + single(b)
    return correlations(predicted, means)


def test_decoding_is_the_published_procedure(chain):
    found = chain["found"]["decoding", "nonaka2021"]
    assert found["subject"].values.tolist() == list(SUBJECTS)
    assert found["roi"].values.tolist() == list(REGIONS)
    assert found.attrs["n_test"] == len(TEST)
    for layer in LAYERS:
        stored = artefacts.load(chain["folder"] / "nonaka2021" / "predictions" / f"{layer}.nc")
        units = found["layer"].values == layer
        assert units.sum() == N_UNITS
        for subject in SUBJECTS:
            for region in REGIONS:
                decoded, r = published_decoding(chain["files"], chain["values"], layer, subject, region)
                ours = found["accuracy"].isel(split=0).sel(subject=subject, roi=region).values[units]
                # Stored in single precision; and the order of sums in single precision is not fixed.
                np.testing.assert_allclose(ours, r, atol=1e-6)
                ours = stored["decoded"].isel(split=0).sel(subject=subject, roi=region)
                ours = ours.sel(stimulus=sorted(TEST)).transpose("stimulus", "unit").values
                np.testing.assert_allclose(ours, decoded, rtol=3e-6, atol=3e-6)


def test_encoding_is_the_published_procedure(chain):
    found = chain["found"]["encoding", "nonaka2021"]
    for layer in LAYERS[1::2]:
        for subject in SUBJECTS[:2]:
            for region in REGIONS:
                r = published_encoding(chain["files"], chain["values"], layer, subject, region)
                own = (found["subject"].values == subject) & (found["roi"].values == region)
                ours = found["accuracy"].isel(split=0).sel(layer=layer).values[own]
                # The weights, unlike the sums they come from, are rounded alike or to the next number.
                np.testing.assert_allclose(ours, r, atol=1e-6)


def test_a_voxel_of_two_regions_is_there_for_both(chain):
    found = chain["found"]["encoding", None]
    shared = f"sub-02-{N_VOXELS - 1:05d}"
    both = found["accuracy"].sel(voxel=[f"{shared}/V1", f"{shared}/V2"])
    assert both["roi"].values.tolist() == ["V1", "V2"]
    np.testing.assert_array_equal(both.isel(voxel=0), both.isel(voxel=1))
    assert found.sizes["voxel"] == 3 * (5 * N_VOXELS + 1)


def test_our_procedure_gives_almost_the_same_where_nothing_is_out_of_the_ordinary(chain):
    for direction in ("decoding", "encoding"):
        ours, theirs = (chain["found"][direction, p]["accuracy"] for p in (None, "nonaka2021"))
        # All presentations are there, so that means and biases agree; what is left is single precision.
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_what_was_planted_comes_back(chain):
    found = chain["found"]["decoding", None]
    r = found["accuracy"].isel(split=0)
    for layer in LAYERS:
        by_roi = r.sel(unit=found["layer"].values == layer).mean("unit")
        own = REGIONS[LATENT[layer]]
        # V2 holds a voxel of V1.
        assert (by_roi.sel(roi=own) > 0.7).all()
        assert (by_roi.drop_sel(roi=[own, "V2"]) < 0.4).all()
        assert (by_roi.drop_sel(roi=own).max("roi") < by_roi.sel(roi=own)).all()


def plain_score(accuracy, layers, *, low, high):
    """Group and best candidate of every kept item, and their rank correlation."""
    groups, tops = [], []
    for number, layer in enumerate(dict.fromkeys(layers)):
        for unit in np.flatnonzero(layers == layer):
            for subject in range(len(SUBJECTS)):
                m = np.nan_to_num(accuracy[subject, :, unit])
                if low < m.max() < high:
                    groups.append(number + 1)
                    tops.append(int(m.argmax()))
    return stats.spearmanr(groups, tops).statistic


@pytest.mark.parametrize("published", [None, "nonaka2021"])
def test_score_is_that_of_the_published_procedure_and_near_1(chain, published):
    found = chain["found"]["decoding", published]
    accuracy, n = found["accuracy"].isel(split=0), found.attrs["n_test"]
    t = stats.t.isf(0.025, n - 2)
    r = np.linspace(0, 1, 1_000_001)[1:-1]
    kept = r[r * np.sqrt((n - 2) * (1 - r**2) if published else (n - 2) / (1 - r**2)) > t]
    high = kept[-1] if published else 2
    expected = plain_score(accuracy.values, found["layer"].values, low=kept[0], high=high)
    tops = bhscore.top_rois(accuracy, n_stimuli=n, published=published)
    score = bhscore.spearman(bhscore.counts(tops).sum("subject").values)
    assert score == pytest.approx(expected, abs=1e-12)
    assert score > 0.9
