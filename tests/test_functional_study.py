"""Tables and maps of the functional-map study."""

import nibabel as nib
import numpy as np
import pytest
import xarray as xr

from lib import functional_maps, functional_rois, functional_study, rdm_regression, searchlight, volumes

N_STIMULI = 14


@pytest.fixture(scope="module")
def responses():
    """Two regions of four subjects, the first of which follows a network trained for edges."""
    rng, about = np.random.default_rng(16), functional_maps.networks()
    networks = np.array([square(rng) for _ in range(38)]).reshape(19, 2, N_STIMULI, N_STIMULI)
    rdm = np.array([[0.3 * square(rng) for _ in range(2)] for _ in range(4)])
    edges = about["network"].tolist().index("edge2d")
    rdm[:, 0] += networks[edges, 0]
    pair = ("stimulus", "stimulus_2")
    return xr.Dataset(
        {
            "rdm": (("repeat", "subject", "roi", *pair), rdm[None]),
            "taskonomy_rdm": (("network", "layer", *pair), networks),
        },
        coords={
            "roi": ["LO1", "V1v"][::-1],
            "network": about["network"].tolist(),
            "layer": ["first", "last"],
        },
    )


def square(rng):
    values = rng.random((N_STIMULI, N_STIMULI))
    values = values + values.T
    np.fill_diagonal(values, 0)
    return values


def test_regions_come_in_the_order_of_the_figures(responses):
    rdms, rois = functional_study.brain(responses)
    assert rois == ["V1v", "LO1"] == [roi for roi in functional_rois.SHOWN if roi in rois]
    i, j = np.triu_indices(N_STIMULI, 1)
    np.testing.assert_array_equal(rdms[2, 0], responses["rdm"].sel(roi="V1v").values[0, 2][i, j])


@pytest.mark.parametrize("rule", [None, "dwivedi2021"])
def test_regions_have_best_networks_and_groups(responses, rule):
    table = functional_study.regions(responses, n_draws=30, published=rule)
    unique = table[table["kind"] == "unique"].set_index(["analysis", "roi", "position"]).sort_index()
    assert unique.loc[("networks", "V1v", 0), "part"] == "edge2d"
    assert unique.loc["groups", "V1v"]["part"].tolist() == list(functional_maps.GROUPS)
    assert unique.loc[("groups", "V1v", 0), "value"] > 0.1


def test_collinearity_names_layers(responses):
    table = functional_study.collinearity(responses)
    assert table["regressor"].tolist() == ["first", "last"] * 3
    assert table["set"].tolist() == ["2D"] * 2 + ["3D"] * 2 + ["semantic"] * 2


@pytest.mark.parametrize("rule", [None, "dwivedi2021"])
def test_maps_show_what_explains_best(responses, rule):
    rng = np.random.default_rng(17)
    rdms, _ = functional_study.brain(responses)
    mean = rdms.mean(axis=0)
    searchlights = np.concatenate([np.repeat(mean[:1], 3, axis=0), rng.random((3, mean.shape[1]))])
    ceiling = np.array([0.5] * 3 + [0.0] * 3)
    sets = functional_study.regressors(responses)
    found = functional_study.searched(searchlights, ceiling, sets, n_permutations=999, published=rule)
    assert found["code"].sel(analysis="networks").values.tolist() == [-5.0] * 3 + [-9.0] * 3  # 2D edges
    assert found["code"].sel(analysis="groups").values.tolist() == [-0.25] * 3 + [-0.75] * 3
    groups = functional_maps.grouped(sets, functional_maps.networks())
    prepared = rdm_regression.design(groups)
    np.testing.assert_allclose(found["total"], rdm_regression.adjusted_r2(prepared, searchlights)[:, -1])
    assert found["score"].sel(network="edge2d").values[0] == found["score"].values[0].max()


def test_maps_find_the_places_of_their_searchlights(tmp_path):
    voxels, affine = np.ones((9, 9, 8), np.int16), np.diag([2.0, 2, 2, 1])
    nib.save(nib.Nifti1Image(voxels, affine), tmp_path / "mask.nii")
    corners, sizes = searchlight.blocks(voxels > 0)
    axes = {"corner": (("searchlight", "axis"), corners), "size": (("searchlight", "axis"), sizes)}
    stored = xr.Dataset(coords={"axis": list("ijk"), **axes}, attrs={"mask": "mask.nii"})
    stored.to_netcdf(tmp_path / "searchlights.nc", engine="h5netcdf")
    codes = np.arange(len(corners), dtype=float)
    mapped = xr.Dataset({"code": (("analysis", "searchlight"), [codes])}, attrs={"permuted": "conditions"})
    found = functional_study.placed(mapped, tmp_path / "searchlights.nc")
    np.testing.assert_array_equal(found["corner"], corners)
    np.testing.assert_array_equal(found["affine"], affine)
    assert found.attrs == mapped.attrs
    mask = nib.Nifti1Image(found["mask"].values.astype(np.int8), found["affine"].values)
    image = volumes.from_blocks(found["code"][0], found["corner"].values, found["size"].values, mask)
    assert set(np.unique(np.asarray(image.dataobj)[1:-1, 1:-1, 1:-1])) >= {0.0, codes[-1]}
    with pytest.raises(ValueError, match=f"maps are of 3 searchlights, but .* has {len(corners)}"):
        functional_study.placed(mapped.isel(searchlight=slice(3)), tmp_path / "searchlights.nc")
