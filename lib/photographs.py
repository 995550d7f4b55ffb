"""Natural pictures without a download: crops of the photographs that scikit-image and scikit-learn carry."""

from importlib.resources import as_file, files

import numpy as np
import pandas as pd
from PIL import Image, ImageEnhance, ImageFilter

from lib.artefacts import atomic, home
from lib.stimuli import digest

SIZE = 224  # pixels
SMALLEST = 96  # pixels of the photograph; a smaller crop would show little but interpolation
CANDIDATES = 3
PHOTOGRAPHS = {
    "astronaut": ("skimage.data", "astronaut.png"),
    "brick": ("skimage.data", "brick.png"),
    "camera": ("skimage.data", "camera.png"),
    "chelsea": ("skimage.data", "chelsea.png"),
    "china": ("sklearn.datasets.images", "china.jpg"),
    "coffee": ("skimage.data", "coffee.png"),
    "coins": ("skimage.data", "coins.png"),
    "flower": ("sklearn.datasets.images", "flower.jpg"),
    "grass": ("skimage.data", "grass.png"),
    "gravel": ("skimage.data", "gravel.png"),
    "hubble": ("skimage.data", "hubble_deep_field.jpg"),
    "moon": ("skimage.data", "moon.png"),
    "motorcycle": ("skimage.data", "motorcycle_left.png"),
    "retina": ("skimage.data", "retina.jpg"),
    "rocket": ("skimage.data", "rocket.jpg"),
    "tissue": ("skimage.data", "ihc.png"),
}


def photograph(name):
    """One of the bundled photographs.

    Parameters
    ----------
    name : str
        A key of `PHOTOGRAPHS`.

    Returns
    -------
    PIL.Image.Image
        RGB.

    Raises
    ------
    FileNotFoundError
        If the installed package does not carry it.
    """
    package, file = PHOTOGRAPHS[name]
    with as_file(files(package) / file) as path, Image.open(path) as picture:
        return picture.convert("RGB")


def crops(picture, *, n, rng):
    """Square crops of a photograph, at random places, their sides spread evenly in logarithm.

    Each is the one of `CANDIDATES` random places that has the most contrast, so that none is plain sky.

    Parameters
    ----------
    picture : PIL.Image.Image
        RGB, at least 96 pixels on each side.
    n : int
        Number of crops.
    rng : numpy.random.Generator

    Returns
    -------
    array (n, 224, 224, 3)
        uint8, 0 to 255; from the closest to the widest crop.
    """
    shorter = min(picture.size)
    sides = SMALLEST * (shorter / SMALLEST) ** ((np.arange(n) + rng.random(n)) / n)
    return np.stack([_crop(picture, int(side), rng) for side in sides])


def varied(crop, rng):
    """The crop turned, and changed in colour, contrast, brightness and sharpness, all at random.

    Crops of one photograph share its colours and its light; these changes are what different photographs have
    in common, so that what is learned on some can hold for others.

    Parameters
    ----------
    crop : array (height, width, 3)
        uint8.
    rng : numpy.random.Generator

    Returns
    -------
    array (height, width, 3)
        uint8. Turned by 0 to 3 quarters; saturation 0 to 1.5 times, contrast 2^-1.5 to 2^0.7 times,
        brightness 2^-0.7 to 2^0.5 times as before; blurred by a Gaussian of 0, 1, 2 or 4 pixels.
    """
    picture = Image.fromarray(np.rot90(crop, rng.integers(4)))
    picture = ImageEnhance.Color(picture).enhance(rng.choice([0, 0.5, 1, 1.5]))
    picture = ImageEnhance.Contrast(picture).enhance(2 ** rng.uniform(-1.5, 0.7))
    picture = ImageEnhance.Brightness(picture).enhance(2 ** rng.uniform(-0.7, 0.5))
    return np.asarray(picture.filter(ImageFilter.GaussianBlur(int(rng.choice([0, 0, 1, 2, 4])))))


def write_crops(folder, *, n_per_photograph=15, seed=0):
    """Write crops of all the photographs, each varied in its own way, as PNG, and tabulate them.

    Parameters
    ----------
    folder : pathlib.Path
        Below `data/`.
    n_per_photograph : int
    seed : int
        The crops of a photograph depend on this, on its name, and on their number.

    Returns
    -------
    pandas.DataFrame
        stimulus (`astronaut_07`), file (below `data/`), sha256, group (the photograph; crops of one
        photograph overlap, and belong on the same side of a split).
    """
    rows = []
    for name in PHOTOGRAPHS:
        rng = np.random.default_rng([seed, *name.encode()])
        for number, crop in enumerate(crops(photograph(name), n=n_per_photograph, rng=rng)):
            path = folder / f"{name}_{number:02d}.png"
            with atomic(path) as part:
                Image.fromarray(varied(crop, rng)).save(part)
            file = path.relative_to(home() / "data").as_posix()
            rows.append({"stimulus": path.stem, "file": file, "sha256": digest(path), "group": name})
    return pd.DataFrame(rows)


def _crop(picture, side, rng):
    """The crop of most contrast among several places."""
    corners = rng.integers(0, np.array(picture.size) - side + 1, size=(CANDIDATES, 2)).tolist()
    pieces = [
        picture.resize((SIZE, SIZE), Image.Resampling.LANCZOS, box=(x, y, x + side, y + side))
        for x, y in corners
    ]
    return np.asarray(max(pieces, key=lambda piece: np.asarray(piece.convert("L")).std()))
