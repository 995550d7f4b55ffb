"""What is kept of an output is what NumPy makes of it."""

import numpy as np
import pytest
import torch
import toy

from lib import features, projection, reduction, standardisation


def _kept(output, **how):
    settings = {key: how.pop(key) for key in ("axis", "time_axis", "n_stimuli") if key in how}
    shape = list(output.shape)
    shape.insert(0, shape.pop(settings.get("axis", 0)))
    chosen = reduction.Reduction(**how)
    made = reduction.Reducer("a", (1, *shape[1:]), reduction=chosen, **settings)
    rows = made(output)
    assert rows.shape == (shape[0], made.n_units)
    return rows


OUTPUT = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype(np.float32))


@pytest.mark.parametrize(
    ("output", "how", "expected"),
    [
        (OUTPUT, {}, OUTPUT.reshape(2, 60)),
        (OUTPUT, {"pooling": "mean"}, OUTPUT.mean((2, 3))),
        (OUTPUT, {"pooling": "max"}, OUTPUT.amax((2, 3))),
        (OUTPUT, {"pooling": "cls"}, OUTPUT.reshape(2, 60)),
        (OUTPUT, {"time_axis": 3}, OUTPUT.mean(3).reshape(2, 12)),
        (OUTPUT, {"time_axis": 3, "pooling": "max"}, OUTPUT.mean(3).amax(1)),
        (OUTPUT, {"axis": 1}, OUTPUT.movedim(1, 0).reshape(3, 40)),
        (OUTPUT[:, 0], {"pooling": "mean"}, OUTPUT[:, 0].mean(1)),
        (OUTPUT[:, 0], {"pooling": "cls"}, OUTPUT[:, 0, 0]),
        (OUTPUT[:, 0], {"axis": 1, "pooling": "cls"}, OUTPUT[0, 0]),
        (OUTPUT[:, 0, 0], {"pooling": "mean"}, OUTPUT[:, 0, 0]),
        # Channels last, as in Swin: the two equal axes are space.
        (OUTPUT[:, :, :3], {"pooling": "mean"}, OUTPUT[:, :, :3].mean((1, 2))),
        (OUTPUT[:, :1, :, :4], {"pooling": "mean"}, OUTPUT[:, :1, :, :4].mean((2, 3))),
    ],
)
def test_rows_are_what_the_settings_say(output, how, expected):
    torch.testing.assert_close(_kept(output, **how), expected)


def test_rows_share_no_memory_with_the_output():
    output = OUTPUT.clone()
    for how in ({}, {"pooling": "cls"}, {"axis": 1}, {"pooling": "mean"}):
        for part in (output, output[:, 0], output[:, 0, 0]):
            rows = _kept(part, **how)
            before = rows.clone()
            output.add_(1)
            torch.testing.assert_close(rows, before, rtol=0, atol=0)


def test_projection_leaves_small_layers_and_goes_by_the_fitted_stimuli():
    few = projection.dimension(3)
    assert few > 60
    torch.testing.assert_close(_kept(OUTPUT, projection="srp", n_stimuli=3), OUTPUT.reshape(2, 60))
    wide = torch.randn(2, few + 1)
    assert _kept(wide, projection="srp", n_stimuli=3).shape == (2, few)
    assert _kept(wide, projection="srp", n_stimuli=9, fitted_on=("a", "b", "c")).shape == (2, few)


def test_rounding_reports_its_error_and_refuses_overflow():
    rows = torch.tensor([[1.0, 3.0003], [-4.0, 0.1]])
    small, error = reduction.rounded(rows, "float16")
    assert small.dtype == torch.float16
    assert error == pytest.approx(float((small.double() - rows.double()).abs().max()) / 4)
    assert 0 < error < 2**-11
    assert reduction.rounded(rows, "float32") == (rows, 0.0)
    assert reduction.rounded(torch.zeros(2, 2), "float16")[1] == 0
    with pytest.raises(ValueError, match="values up to 7e\\+04 exceed the range of float16, ±65504"):
        reduction.rounded(7e4 * rows.sign(), "float16")


def test_wrong_settings_are_named():
    for name, value, near in (
        ("pooling", "men", "mean"),
        ("projection", "sp", "srp"),
        ("precision", "float61", "float16"),
    ):
        with pytest.raises(ValueError, match=f"unknown {name} '{value}'; did you mean .*{near}"):
            reduction.Reduction(**{name: value})


@pytest.mark.parametrize("shape", [(1, 3, 4, 5), (1, 7, 5), (1, 9), (1, 4, 4, 6), (1, 2, 3, 4, 5)])
@pytest.mark.parametrize("pooling", ["", "mean", "max", "cls"])
def test_width_is_foretold(shape, pooling):
    assert reduction.width(shape, pooling=pooling) == _kept(torch.zeros(shape), pooling=pooling).shape[1]


@pytest.mark.parametrize("names", [(), ("a", "b", "c")])
def test_units_are_standardised_before_projection(names):
    X = np.random.default_rng(0).normal(5, 3, size=(4, 20000)).astype(np.float32)
    X[:, 7] = 2
    fitted = np.arange(4) < (3 if names else 4)
    scaled = standardisation.columns(X, fitted) if names else next(standardisation.pieces([X]))
    wanted = reduction.Reduction(projection="srp-standardised", fitted_on=names, seed=3)
    n_kept = projection.dimension(fitted.sum())
    assert (wanted.afterwards, wanted.n_kept(20000, 4), wanted.n_kept(60, 4)) == (True, n_kept, 60)
    matrix = projection.SparseProjection(20000, n_kept, name="layer", seed=3)
    expected = matrix(torch.from_numpy(scaled).float())
    given = fitted if names else None
    # Sums of some hundred products of order 0.1 in single precision
    np.testing.assert_allclose(wanted.projected(X, "layer", given), expected, atol=1e-5)
    np.testing.assert_array_equal(wanted.projected(X[:, :60], "layer", given), X[:, :60])
    wanted = reduction.Reduction(projection="pca-standardised", fitted_on=names)
    expected = projection.principal_components([scaled], fitted_on=given)
    np.testing.assert_allclose(wanted.projected(X, "layer", given), expected, atol=1e-3)
    assert wanted.n_kept(20000, 4) == fitted.sum() - 1


def test_layers_are_extracted_first_and_standardised_then(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path))
    model, table = toy.vision(), toy.pictures(tmp_path, 7)
    features.extract(model, table, tmp_path / "raw.nc")
    names = tuple(table["stimulus"][:3])
    fitted = table["stimulus"].isin(names).to_numpy()
    for kind in ("srp-standardised", "pca-standardised"):
        reduce = reduction.Reduction(projection=kind, fitted_on=names)
        path = tmp_path / f"{kind}.nc"
        cost = features.estimate(model, table, reduce=reduce)
        features.extract(model, table, path, reduce=reduce, batch_size=3)
        assert features.reductions(path) == reduce
        assert features.repeatability(model, table, path) == {}
        assert cost["units"] == features.units(path)
        for layer in model.layers:
            raw = next(features.blocks(tmp_path / "raw.nc", layer, n_units=None))
            stored = next(features.blocks(path, layer, n_units=None))
            np.testing.assert_allclose(stored, reduce.projected(raw, layer, fitted), atol=1e-4)
