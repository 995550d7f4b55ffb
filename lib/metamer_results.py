"""Results pickled beside model metamers: networks that judge others' metamers, and regressions onto voxels."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from lib import damage, unpickle

# Number of classes → keys for whether correct, mean, its bootstrap SEM, true and chosen class. Audio first; its
# predictions have two underscores.
EVALUATIONS = {
    794: ("correct_incorrect", "average_correct", "bootstrap_sem", "labels_all_layers",
          "predictions__all_layers"),
    **{
        n: (f"correct_incorrect_{n}", f"average_correct_{n}", f"bootstrap_sem_{n}",
            f"labels_{n}_way_all_layers", f"predictions_{n}_way_all_layers")
        for n in (16, 1000)
    },
}  # fmt: skip
# The SEM is the SD of 1000 resampled means: itself uncertain by 1 / sqrt(2000) = 2.2 %; this is 7 times that.
SEM_TOLERANCE = 0.16
HEMISPHERES = {b"lh": "left", b"rh": "right"}


def evaluation(path):
    """How one network classifies the metamers of another, stimulus by stimulus.

    Parameters
    ----------
    path : str or pathlib.Path
        `…/<network>/network_network_evaluations/accuracy_on_metamers_from_<generator>.pckl`.

    Returns
    -------
    pandas.DataFrame
        network, generator, stage (order of the layers), layer (that the metamers match), classes (16 or 1000 of
        pictures, 794 words), position (among the metamers that passed; the same for every network), label (true
        class of the natural stimulus), prediction, correct (bool).

    Raises
    ------
    ValueError
        If the pickle is unsafe, damaged or of another network, layers or lengths differ among its lists, or a
        stored mean or SEM is not that of the list.

    References
    ----------
    Feather, Leclerc, Madry & McDermott (2023), doi:10.1038/s41593-023-01442-0, figure 8.
    """
    path = Path(path)
    with damage.named(path, "is no evaluation of metamers"):
        return _evaluation(path, unpickle.load(path))


def _evaluation(path, content):
    network, generator = path.parts[-3], path.stem.removeprefix("accuracy_on_metamers_from_")
    if content.get("model_evaluation_directory") != network:
        raise ValueError(f"{path} is no evaluation by {network}")
    sets = {n: keys for n, keys in EVALUATIONS.items() if keys[0] in content}
    lacking = [key for keys in sets.values() or [EVALUATIONS[16]] for key in keys if key not in content]
    if lacking:
        raise ValueError(f"{path} lacks {lacking}")
    judged = (_judgements(path, n, [content[key] for key in keys]) for n, keys in sets.items())
    table = pd.concat(itertools.chain.from_iterable(judged), ignore_index=True)
    table.insert(0, "network", network)
    table.insert(1, "generator", generator)
    return table


def _judgements(path, classes, values):
    """One table per layer, checked against the stored means."""
    if len({tuple(value) for value in values}) != 1:
        raise ValueError(f"{path} has different layers among its lists of {classes} classes")
    for stage, layer in enumerate(values[0]):
        correct, mean, sem, labels, predictions = (value[layer] for value in values)
        if not len(correct) == len(labels) == len(predictions) > 0:
            raise ValueError(f"{path} has lists of different lengths at {layer} of {classes} classes")
        share = np.mean(correct)
        expected = np.sqrt(share * (1 - share) / len(correct))
        if not (np.isclose(share, mean, rtol=1e-12) and abs(sem - expected) <= SEM_TOLERANCE * expected):
            raise ValueError(
                f"{path} states mean {mean} and SEM {sem} at {layer} of {classes} classes; the list has {share} "
                f"and about {expected}"
            )
        columns = {"label": labels, "prediction": predictions, "correct": np.array(correct, bool)}
        head = {"stage": stage, "layer": layer, "classes": classes, "position": range(len(correct))}
        yield pd.DataFrame({**head, **columns})


def voxel_regression(path):
    """Variance of voxels explained by one layer of a network, in each split of the sounds.

    Parameters
    ----------
    path : str or pathlib.Path
        `…/<network>/regression_results/…/voxelwise_regression_b'<layer>'_….pckl`.

    Returns
    -------
    xarray.Dataset
        `r2` (voxel, split), explained variance corrected for noise (not capped at 1); `alpha` (voxel, split),
        ridge penalty chosen; `train` (split, position), bool: True where a sound trains, else it tests, by the
        sound's position in the authors' list; `in_roi` (region, voxel), bool. Coordinates: voxel (the authors'
        voxel_id), subject, hemisphere, x, y (the authors' x_ras and y_ras, unit not stated), region. Attributes
        network, layer.

    Raises
    ------
    ValueError
        If the pickle is unsafe, damaged, of another layer than its name says, or training and test sounds are
        not complementary.

    References
    ----------
    Feather, Leclerc, Madry & McDermott (2023), doi:10.1038/s41593-023-01442-0, figure 7 and Methods.
    """
    path = Path(path)
    with damage.named(path, "is no regression onto voxels"):
        return _regression(path, unpickle.load(path))


def _regression(path, content):
    layer, meta = bytes(content["layer_name"]).decode(), content["voxel_meta"]
    if f"_b'{layer}'_" not in path.name:
        raise ValueError(f"{path} holds layer {layer!r}")
    train, test = (content[f"all_{half}_idxs"].T.astype(bool) for half in ("train", "test"))
    if (train == test).any():
        raise ValueError(f"{path} has sounds that both train and test, or neither")
    masks = content["roi_masks"]
    return xr.Dataset(
        {
            "r2": (("voxel", "split"), content["r2s"]),
            "alpha": (("voxel", "split"), content["alphas"]),
            "train": (("split", "position"), train),
            "in_roi": (("region", "voxel"), masks["masks"].T.astype(bool)),
        },
        coords={
            "voxel": meta["voxel_id"].astype(str),
            "split": range(len(train)),
            "position": range(train.shape[1]),
            "region": masks["mask_names"],
            "subject": ("voxel", meta["subj_idx"].astype(str)),
            "hemisphere": ("voxel", [HEMISPHERES[h] for h in meta["hemi"].tolist()]),
            "x": ("voxel", meta["x_ras"].astype(float)),
            "y": ("voxel", meta["y_ras"].astype(float)),
        },
        attrs={"network": path.parts[-4], "layer": layer},
    )


def joined(regressions, layers):
    """Regressions of several networks and layers side by side.

    Parameters
    ----------
    regressions : list of xarray.Dataset
        From `voxel_regression`; voxels in any order.
    layers : sequence of str
        All layers, in the order wanted; those without a regression are left out.

    Returns
    -------
    xarray.Dataset
        `r2` and `alpha` (model, layer, voxel, split), NaN where a network has not that layer; `train` and
        `in_roi` and the coordinates, which all share.

    Raises
    ------
    ValueError
        If voxels, splits or regions differ, or a layer is unknown.
    """
    first, cells = regressions[0].reset_coords(), {}
    for regression in regressions:
        place = regression.attrs["network"], regression.attrs["layer"]
        cells[place] = _aligned(regression, first)
    odd = [place for place in cells if place[1] not in layers]
    if odd:
        raise ValueError(f"layers of {odd[:3]} are none of {list(layers)}")
    axes = {
        "model": list(dict.fromkeys(model for model, _ in cells)),
        "layer": [layer for layer in layers if any(layer == at for _, at in cells)],
    }
    shared = first.drop_vars(["r2", "alpha"]).drop_attrs(deep=False)
    for name in ("r2", "alpha"):
        values = np.full((*map(len, axes.values()), *first[name].shape), np.nan)
        for (model, layer), cell in cells.items():
            values[axes["model"].index(model), axes["layer"].index(layer)] = cell[name]
        shared[name] = (
            ("model", "layer", "voxel", "split"),
            values,
            {"missing": "a network has not that layer"},
        )
    return shared.assign_coords(axes).set_coords(["subject", "hemisphere", "x", "y"])


def _aligned(regression, first):
    """A regression with the voxels in the order of the first one, which it otherwise equals."""
    what = f"{regression.attrs['network']}/{regression.attrs['layer']}"
    odd = sorted(set(regression["voxel"].values.tolist()) ^ set(first["voxel"].values.tolist()))
    if odd:
        raise ValueError(f"{what} and {first.attrs['network']} differ in {len(odd)} voxels, first {odd[:3]}")
    aligned = regression.sel(voxel=first["voxel"].values).reset_coords()
    differing = [v for v in first.variables if v not in ("r2", "alpha") and not first[v].equals(aligned[v])]
    if differing:
        raise ValueError(
            f"{what} and {first.attrs['network']} differ in {differing} of the same voxels or splits"
        )
    return aligned
