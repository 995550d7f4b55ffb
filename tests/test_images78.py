"""The RDMs of 78 photographs: their toolbox's own noise ceilings, order of the rows, damage."""

import os

import numpy as np
import pytest
from scipy import stats

from lib import datasets, download, registry
from lib.datasets import images78

# `noise_ceiling_log.json` beside the RDMs in the toolbox's repository: mean squared Spearman correlation of each
# person with the mean RDM, without (lower) and with (upper) that person.
CEILINGS = {
    "EVC": (0.006817660885847111, 0.06397469419484077),
    "IT": (0.002784925615650058, 0.0647332511659806),
}
PORTRAITS = [f"image_{number}" for number in range(63, 79)]  # seen by eye


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path))


@pytest.fixture
def real():
    if not os.environ.get("DATA_MIRROR"):
        pytest.skip("DATA_MIRROR is not set: the real RDMs cannot be read")
    return datasets.load("images78")


@pytest.fixture
def files(monkeypatch):
    """Files of the format of the real ones: 3 people, 4 pictures named 2, 10, 1 and 3 in the registry."""
    monkeypatch.delenv("DATA_MIRROR", raising=False)
    table = registry.registry("images78").iloc[:4].copy()
    table["url"] = [f"{images78.SOURCE}stimuli_data/image_{n:02d}.jpg" for n in (2, 10, 1, 3)]
    monkeypatch.setattr(images78, "registry", lambda _name: table)
    rng = np.random.default_rng(0)
    rdms = {}
    for roi in images78.ROIS:
        half = np.triu(rng.random((3, 4, 4)), 1)
        rdms[roi] = half + half.swapaxes(1, 2)
        write(roi, arr_0=rdms[roi])
    return rdms


def write(roi, **arrays):
    path = download.raw(f"{images78.SOURCE}brain_data/fmri_{roi}_RDMs.npz")
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)
    return path


@pytest.mark.mirror
def test_the_real_data_keep_the_contract_and_the_counts(real):
    responses, stimuli = real
    assert responses["rdm"].shape == (1, 15, 2, 78, 78)
    assert stimuli["stimulus"].tolist() == [f"image_{n:02d}" for n in range(1, 79)]
    assert responses.attrs["kind"] == "rdm"


@pytest.mark.mirror
def test_noise_ceilings_are_those_that_the_toolbox_records(real):
    for roi, ceilings in CEILINGS.items():
        pairs = real[0]["rdm"].sel(repeat=0, roi=roi).values[:, *np.triu_indices(78, 1)]
        others = (pairs.sum(axis=0) - pairs) / 14
        lower = np.mean([stats.spearmanr(a, b)[0] ** 2 for a, b in zip(pairs, others, strict=True)])
        upper = np.mean([stats.spearmanr(a, pairs.mean(axis=0))[0] ** 2 for a in pairs])
        # Numbers of one computation by another routine: some roundings of float64, in ties none.
        np.testing.assert_allclose((lower, upper), ceilings, rtol=1e-9)


@pytest.mark.mirror
def test_portraits_lie_together_in_it_only_where_rows_are_the_sorted_file_names(real):
    responses, stimuli = real
    rdm = responses["rdm"].sel(repeat=0, roi="IT")
    mean = (rdm / rdm.mean(["stimulus", "stimulus_2"])).mean("subject").values
    face = stimuli["stimulus"].isin(PORTRAITS).to_numpy()

    def gap(of):
        return mean[of][:, ~of].mean() - mean[np.ix_(of, of)][np.triu_indices(of.sum(), 1)].mean()

    rng = np.random.default_rng(0)
    chance = [gap(rng.permutation(face)) for _ in range(1000)]
    assert gap(face) > max(chance)


def test_rows_are_the_sorted_file_names(files, tmp_path):
    responses, stimuli = images78.load(tmp_path)
    names = ["image_01", "image_02", "image_03", "image_10"]
    assert stimuli["stimulus"].tolist() == responses["stimulus"].values.tolist() == names
    assert responses["stimulus_2"].values.tolist() == names
    for roi, rdms in files.items():
        np.testing.assert_array_equal(responses["rdm"].sel(repeat=0, roi=roi), rdms)


@pytest.mark.usefixtures("files")
def test_another_number_of_pictures_is_an_error(tmp_path):
    write("IT", arr_0=np.zeros((3, 5, 5)))
    with pytest.raises(ValueError, match=r"shape \(3, 5, 5\); \(subjects, 4, 4\), numbers, is right"):
        images78.load(tmp_path)


@pytest.mark.parametrize("spoil", ["cut", "renamed", "pickled"])
def test_damage_names_the_file(files, tmp_path, spoil):
    path = write("EVC", arr_0=files["EVC"])
    if spoil == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif spoil == "renamed":
        write("EVC", rdms=files["EVC"])
    else:
        write("EVC", arr_0=np.array([{}, None], dtype=object))
    with pytest.raises(ValueError, match=r"fmri_EVC_RDMs\.npz (is damaged|has no member|has RDMs of object)"):
        images78.load(tmp_path)


def test_every_file_has_a_hash_and_a_size():
    table = registry.registry("images78")
    assert len(table) == 80
    assert table["sha256"].str.fullmatch("[0-9a-f]{64}").all()
    assert table["size"].gt(0).all()
