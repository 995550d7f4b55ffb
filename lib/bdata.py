"""BData files: samples by columns in HDF5, columns found by selector expressions, read in blocks."""

import fnmatch
import logging
import re
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from lib import damage, hdf5, plugins, selector

BLOCK = 1 << 25  # bytes held at a time beside the selection itself
LARGE = 1 << 27  # bytes from which reading shows its progress
FIRST = 3  # cells that a message names
MISSING = "n/a"  # label of a row whose number is NaN
# The first names are those of older files.
NAMES = {"dataset": ("dataSet", "dataset"), "metadata": ("metaData", "metadata")}


class BData:
    """One BData file; its header is in memory, its samples stay on disk until they are selected.

    Parameters
    ----------
    path : str or pathlib.Path

    Attributes
    ----------
    path : pathlib.Path
    shape : tuple of int
        Rows (samples) and columns (voxels, labels and design side by side).
    keys : tuple of str
        Of the metadata, in the file's order.

    Raises
    ------
    ValueError
        If the file is damaged, or its metadata do not fit its samples.
    """

    def __init__(self, path):
        self.path = Path(path)
        with damage.named(self.path, "is no BData file"), hdf5.opened(self.path) as file:
            found = {name: next((n for n in names if n in file), None) for name, names in NAMES.items()}
            inside = sorted(file)
            if None not in found.values():
                samples, metadata = file[found["dataset"]], file[found["metadata"]]
                self.shape, self._chunks = samples.shape, samples.chunks
                self._dataset, written = found["dataset"], samples.id.get_storage_size()
                self.keys = tuple(map(str, np.ravel(metadata["key"].asstr()[()])))
                self._values = hdf5.values(metadata["value"]).astype(np.float64)
                self._vmap = _vmap(file)
        if None in found.values():
            raise ValueError(f"{self.path} is no BData file: dataset or metadata is missing in {inside}")
        if len(self.shape) != 2 or self._values.shape != (len(self.keys), self.shape[1]):
            raise ValueError(
                f"{self.path}: metadata are ragged: {len(self.keys)} keys, values {self._values.shape}, "
                f"samples {self.shape}; values must be keys by columns of the samples"
            )

        if not written and 0 not in self.shape:
            raise ValueError(f"{self.path}: samples {self.shape} were announced but never written")

    def mask(self, expression):
        """Columns that a selector expression names.

        Parameters
        ----------
        expression : str
            Keys and operators, as `lib.selector.mask` explains: `ROI_V1 = 1 | ROI_V2 = 1`.

        Returns
        -------
        bool array (n_columns,)

        Raises
        ------
        ValueError
            If the expression is malformed, or a key is unknown (the nearest are named).
        """
        return selector.mask(expression, self._members)

    def cost(self, expression):
        """Memory that a selection will take, known before any sample is read.

        Parameters
        ----------
        expression : str
            As for `mask`.

        Returns
        -------
        n_bytes : int
            Of the array that `select` returns; reading holds about 32 MiB more.
        shape : tuple of int
        """
        shape = (self.shape[0], int(self.mask(expression).sum()))
        return 8 * shape[0] * shape[1], shape

    def select(self, expression):
        """Samples in the selected columns.

        Parameters
        ----------
        expression : str
            As for `mask`.

        Returns
        -------
        float64 array (n_rows, n_selected)
            Columns in the file's order, in the file's unit.

        Raises
        ------
        ValueError
            If a selected cell is NaN; the first are named.
        """
        n_bytes, shape = self.cost(expression)
        level = logging.INFO if n_bytes > BLOCK else logging.DEBUG
        logging.getLogger(__name__).log(
            level, "%s: %s will take %.1f MB of memory", self.path.name, shape, n_bytes / 1e6
        )
        values = np.empty(shape)
        for rows, columns, block in self.blocks(expression):
            values[rows, columns] = block
        return values

    def blocks(self, expression):
        """Samples in the selected columns, one bounded block after another.

        Parameters
        ----------
        expression : str
            As for `mask`.

        Yields
        ------
        rows : slice
            Of the file.
        columns : slice
            Of the selection.
        block : float64 array
            Samples there.

        Raises
        ------
        ValueError
            If a selected cell is NaN; the first are named.
        """
        chosen = np.flatnonzero(self.mask(expression))
        total = 8 * self.shape[0] * len(chosen)
        with tqdm(
            total=total, unit="B", unit_scale=True, desc=self.path.name, disable=total < LARGE
        ) as progress:
            for rows, columns, block in self._blocks(chosen):
                if np.isnan(block).any():
                    self._refuse(expression, rows.start, chosen[columns], np.argwhere(np.isnan(block)))
                yield rows, columns, block
                progress.update(block.nbytes)

    def labels(self, key):
        """Names behind the numbers of a label column.

        Parameters
        ----------
        key : str
            With an entry in the file's `vmap`; may have several columns.

        Returns
        -------
        text array (n_rows, n_columns of the key)
            "n/a" where the number is NaN.

        Raises
        ------
        ValueError
            If the key is unknown or has no names, or a number has none.
        """
        plugins.require(key, self.keys, f"key of {self.path.name}")
        names = self._vmap.get(key)
        if not names:
            raise ValueError(
                f"{self.path}: no names (vmap) for key {key!r}; they are there for {[*self._vmap]}"
            )
        numbers = np.empty((self.shape[0], int(self.mask(f'"{key}"').sum())))
        for rows, columns, block in self._blocks(np.flatnonzero(self.mask(f'"{key}"'))):
            numbers[rows, columns] = block
        unknown = sorted(set(numbers[~np.isnan(numbers)].tolist()) - set(names))
        if unknown:
            raise ValueError(f"{self.path}: numbers of {key!r} without a name: {unknown[:FIRST]}")
        flat = [MISSING if np.isnan(number) else names[number] for number in numbers.ravel().tolist()]
        return np.array(flat, dtype=object).astype(str).reshape(numbers.shape)

    def metadata(self, key):
        """Numbers that a key gives to columns, such as the coordinate `voxel_x`.

        Parameters
        ----------
        key : str
            Exactly one of `keys`.

        Returns
        -------
        float64 array (n_columns,)
            NaN where the key says nothing of a column.

        Raises
        ------
        ValueError
            If the key is unknown, or there more than once.
        """
        plugins.require(key, self.keys, f"key of {self.path.name}")
        if self.keys.count(key) > 1:
            raise ValueError(f"{self.path}: key {key!r} is there {self.keys.count(key)} times")
        return self._values[self.keys.index(key)].copy()

    def _members(self, pattern):
        """Columns of all keys that a pattern matches."""
        # Of the signs of `fnmatch` only the star is one here; unlike `.*` in `re`, it never takes long.
        wanted = re.sub(r"([?\[])", r"[\1]", pattern)
        rows = [i for i, key in enumerate(self.keys) if fnmatch.fnmatchcase(key, wanted)]
        if not rows:
            plugins.require(pattern, self.keys, f"key of {self.path.name}")
        return (self._values[rows] == 1).any(axis=0)

    def _blocks(self, chosen):
        """Rows, place in the selection and samples of each block, in the file's order."""
        if not len(chosen):
            return
        low, high = int(chosen[0]), int(chosen[-1]) + 1
        tall, wide = _block_shape(self._chunks, high - low)
        aligned = low - low % self._chunks[1] if self._chunks else low
        with damage.named(self.path), hdf5.opened(self.path) as file:
            for top in range(0, self.shape[0], tall):
                for left in range(aligned, high, wide):
                    first, last = np.searchsorted(chosen, (left, left + wide)).tolist()
                    if first == last:
                        continue
                    start, stop = int(chosen[first]), int(chosen[last - 1]) + 1
                    rows = slice(top, min(top + tall, self.shape[0]))
                    block = file[self._dataset][rows, start:stop].astype(np.float64, copy=False)
                    yield rows, slice(first, last), block[:, chosen[first:last] - start]

    def _refuse(self, expression, top, columns, cells):
        first = ", ".join(f"row {top + r} column {columns[c]}" for r, c in cells[:FIRST].tolist())
        more = f" and {len(cells) - FIRST} more nearby" if len(cells) > FIRST else ""
        raise ValueError(f"{self.path}: {expression!r} selects cells that are NaN: {first}{more}")


def _vmap(file):
    """Names of numbers, by key."""
    return {key: _names(key, group) for key, group in file.get("vmap", {}).items()}


def _names(key, group):
    try:
        return {float(number): text.asstr()[()] for number, text in group.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"{group.file.filename}: vmap of {key!r} is no table of numbers and names: {error}"
        ) from error


def _block_shape(chunks, width):
    """Rows and columns of a block: whole chunks, and whole rows if these fit."""
    tall, wide = chunks or (1, 1)
    across = max(1, min(-(-width // wide) + 1, BLOCK // (8 * tall * wide)))
    return max(1, BLOCK // (8 * tall * wide * across)) * tall, wide * across
