"""What names of pandas 1 to 3 stand for in a pickle: tables, made anew from their arrays."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from lib.pickled_machine import Named, Pending

MASKED = {
    "Boolean": pd.arrays.BooleanArray,
    "Floating": pd.arrays.FloatingArray,
    "Integer": pd.arrays.IntegerArray,
}
SIZES = {"Int": (8, 16, 32, 64), "UInt": (8, 16, 32, 64), "Float": (32, 64)}
VERSION = "0.14.1"  # of the state that managers of blocks have kept since
TIMES = "mM"


@dataclass(frozen=True)
class Block:
    """Columns of one type: values (column, row), or (row,) of one column, and their places in the table."""

    values: object
    places: object


@dataclass(frozen=True)
class Manager:
    """Axes (columns and rows; of a series only rows) and blocks of a table."""

    axes: list
    blocks: list


@dataclass(frozen=True)
class TextType:
    """Arguments of pandas.StringDtype."""

    arguments: tuple


def _values(value):
    """Values of an index, block or column: an array of NumPy or pandas."""
    if not isinstance(value, np.ndarray | pd.api.extensions.ExtensionArray | pd.Index):
        raise TypeError(f"{type(value).__name__} instead of values")
    return value


def _kind(values):
    """Letter of the type of an array of NumPy, which pandas would else guess anew; "" of one of pandas."""
    return values.dtype.kind if isinstance(values, np.ndarray) else ""


def _known(state, *names):
    """The first of several names that a state has."""
    for name in names:
        if isinstance(state, dict) and name in state:
            return state[name]
    raise ValueError(f"a state without {' or '.join(names)}")


# Indices


def _new_index(kind, state):
    """An index of any kind from its parts."""
    if not isinstance(kind, Named) or kind.name not in INDICES:
        raise TypeError("an index of unknown kind")
    return INDICES[kind.name](state)


def _index(state):
    values = _values(_known(state, "data"))
    dtype = object if _kind(values) == "O" else None
    return pd.Index(values, dtype=dtype, name=state.get("name"))


def _range_index(state):
    return pd.RangeIndex(state["start"], state["stop"], state["step"], name=state.get("name"))


def _time_index(state):
    if state.get("freq") is not None or state.get("tz") is not None:
        raise ValueError("times with a frequency or time zone are not read")
    return pd.Index(_values(_known(state, "data")), name=state.get("name"))


def _multi_index(state):
    codes = _known(state, "codes", "labels")
    return pd.MultiIndex(
        [pd.Index(level) for level in map(_values, state["levels"])],
        [_values(code) for code in codes],
        names=list(state["names"]),
    )


INDICES = {
    **dict.fromkeys(("Index", "Int64Index", "UInt64Index", "Float64Index", "CategoricalIndex"), _index),
    "RangeIndex": _range_index,
    "MultiIndex": _multi_index,
    **dict.fromkeys(("DatetimeIndex", "TimedeltaIndex"), _time_index),
}


# Values of columns


def _backed(kind, _checksum, state):
    """Values that pandas keeps around an array: categories, text, times."""
    if not isinstance(kind, Named) or kind.make is None:
        raise TypeError("values of unknown kind")
    made = kind.make()
    return made if state is None else made.complete(state)


def _parts(state, kind):
    """Type and array of a state, which hold them by name or in either order."""
    if isinstance(state, dict):
        return _known(state, "_dtype"), _known(state, "_ndarray", "_codes", "_data")
    array = [part for part in state if isinstance(part, np.ndarray)]
    dtype = [part for part in state if isinstance(part, kind)]
    if len(array) != 1 or len(dtype) != 1:
        raise ValueError("values without type and array")
    return dtype[0], array[0]


def _categorical():
    return Pending(_categories)


def _categories(state):
    dtype, codes = _parts(state, pd.CategoricalDtype)
    if codes.dtype.kind != "i" or not isinstance(dtype, pd.CategoricalDtype):
        raise TypeError("codes or categories of the wrong type")
    return pd.Categorical.from_codes(codes, dtype=dtype)


def _categorical_type(categories=None, ordered=False):
    if categories is not None:
        return pd.CategoricalDtype(_values(categories), bool(ordered))
    return Pending(
        lambda s: pd.CategoricalDtype(_values(_known(s, "categories")), bool(_known(s, "ordered")))
    )


def _text_type(*arguments):
    """A type of text; its state, if any, names the storage."""
    if not arguments:
        return Pending(lambda state: TextType(((state or {}).get("storage", "python"),)))
    return TextType(arguments)


def _text():
    return Pending(_texts)


def _texts(state):
    dtype, values = _parts(state, TextType)
    storage, *missing = dtype.arguments
    if storage != "python" or len(missing) > 1 or not all(_is_missing(m) for m in missing):
        raise ValueError(f"text of type {dtype.arguments!r}")
    if values.dtype != object or values.ndim != 1:
        raise TypeError("text that is no array of objects")
    kind = (
        pd.StringDtype("python", *missing)
        if missing and missing[0] is not pd.NA
        else pd.StringDtype("python")
    )
    return pd.array(values, dtype=kind)


def _is_missing(value):
    return value is pd.NA or (isinstance(value, float) and np.isnan(value))


def _times():
    """Times without a time zone, as an array of NumPy."""
    return Pending(lambda state: _timed(_parts(state, np.dtype)))


def _timed(parts):
    dtype, array = parts
    if array.dtype.kind not in TIMES or array.dtype != dtype:
        raise TypeError(f"times of type {dtype}")
    return array


def _masked(kind):
    """Values with a mask of the missing ones."""
    return lambda: Pending(lambda state: kind(_known(state, "_data", "_values"), _known(state, "_mask")))


def _masked_type(*_):
    """A type that the values themselves tell."""
    return Pending(lambda _state: None)


# Tables


def _block(values, places, _ndim=None):
    return Block(_values(values), places)


def _manager(*arguments):
    """Axes and blocks, given at once or in a state."""
    if not arguments:
        return Pending(_managed)
    blocks, axes, *_ = arguments
    blocks = list(blocks) if isinstance(blocks, list | tuple) else [blocks]
    axes = list(axes) if isinstance(axes, list | tuple) else [axes]
    return _checked(axes, blocks)


def _managed(state):
    """Axes and blocks from the last part of a state."""
    if not isinstance(state, tuple) or len(state) < 4 or VERSION not in state[3]:
        raise ValueError(f"a table of a version before {VERSION}")
    kept = state[3][VERSION]
    return _checked(list(kept["axes"]), [_block(b["values"], b["mgr_locs"]) for b in kept["blocks"]])


def _checked(axes, blocks):
    if not axes or not all(isinstance(axis, pd.Index) for axis in axes):
        raise TypeError("a table without axes")
    if not all(isinstance(block, Block) for block in blocks):
        raise TypeError("a table without blocks")
    return Manager(axes, blocks)


def _table():
    return Pending(_framed)


def _framed(state):
    """A table of the columns of all blocks, in their order."""
    manager = _known(state, "_mgr", "_data")
    if not isinstance(manager, Manager) or len(manager.axes) != 2:
        raise TypeError("a table without blocks")
    columns, rows = manager.axes
    parts = [_columns(block, rows, len(columns)) for block in manager.blocks]
    order = np.concatenate([places for places, _ in parts]) if parts else np.empty(0, int)
    if sorted(order.tolist()) != list(range(len(columns))):
        raise ValueError(f"blocks for columns {order[:3]}… of {len(columns)}")
    table = pd.concat([part for _, part in parts], axis=1) if parts else pd.DataFrame(index=rows)
    table = table.iloc[:, np.argsort(order)] if len(parts) > 1 else table
    table.columns = columns
    table.attrs = dict(state.get("attrs") or {})
    return table


def _columns(block, rows, count):
    """Places of a block's columns, and these as a table."""
    places = np.arange(count)[block.places] if isinstance(block.places, slice) else np.ravel(block.places)
    values = block.values
    if getattr(values, "ndim", 1) == 1:
        values = values[None] if isinstance(values, np.ndarray) else values
    shape = (1, len(values)) if not isinstance(values, np.ndarray) else values.shape
    if shape != (len(places), len(rows)) or places.dtype.kind not in "iu":
        raise ValueError(f"a block {shape} for {len(places)} columns and {len(rows)} rows")
    if not isinstance(values, np.ndarray):
        return places, pd.DataFrame({0: pd.Series(values, index=rows)})
    dtype = object if _kind(values) == "O" else None
    table = pd.DataFrame(values.T, index=rows, columns=range(len(places)), dtype=dtype)
    return places, table.iloc[:, np.argsort(places)] if len(places) == count else table


def _series():
    return Pending(_lined)


def _lined(state):
    """A series of the only block."""
    manager = _known(state, "_mgr", "_data")
    if not isinstance(manager, Manager) or len(manager.axes) != 1 or len(manager.blocks) != 1:
        raise TypeError("a series without a block")
    values = manager.blocks[0].values
    if getattr(values, "ndim", 1) != 1 or len(values) != len(manager.axes[0]):
        raise ValueError("a series with more values than rows")
    dtype = object if _kind(values) == "O" else None
    return pd.Series(values, index=manager.axes[0], dtype=dtype, name=state.get("name", state.get("_name")))


# Single values


def _timestamp(value, frequency=None, zone=None, resolution=10):
    """A moment without a time zone."""
    units = {7: "s", 8: "ms", 9: "us", 10: "ns"}
    if frequency is not None or zone is not None or resolution not in units or not isinstance(value, int):
        raise ValueError("a moment with a frequency or time zone is not read")
    return pd.Timestamp(value, unit=units[resolution]).as_unit(units[resolution])


def _not_a_time(_=None):
    return pd.NaT


def _named(make, *pairs):
    """Rules for one thing that has been kept in several modules, or under several names."""
    return {(module, name): Named(name, make) for module, name in pairs}


BASE, CORE = "pandas.core.indexes", "pandas.core.arrays"
ALLOWED = {
    **_named(_new_index, (f"{BASE}.base", "_new_Index"), (f"{BASE}.datetimes", "_new_DatetimeIndex")),
    **_named(None, *(("pandas", name) for name in INDICES)),
    **_named(
        None, (f"{BASE}.base", "Index"), (f"{BASE}.range", "RangeIndex"), (f"{BASE}.multi", "MultiIndex")
    ),
    **_named(None, (f"{BASE}.category", "CategoricalIndex"), (f"{BASE}.datetimes", "DatetimeIndex")),
    **_named(None, (f"{BASE}.timedeltas", "TimedeltaIndex")),
    **_named(None, *((f"{BASE}.numeric", f"{name}Index") for name in ("Int64", "UInt64", "Float64"))),
    **_named(_table, ("pandas", "DataFrame"), ("pandas.core.frame", "DataFrame")),
    **_named(_series, ("pandas", "Series"), ("pandas.core.series", "Series")),
    **_named(
        _manager, *(("pandas.core.internals.managers", n) for n in ("BlockManager", "SingleBlockManager"))
    ),
    **_named(_manager, *(("pandas.core.internals", n) for n in ("BlockManager", "SingleBlockManager"))),
    **_named(_block, ("pandas._libs.internals", "_unpickle_block")),
    **_named(_block, ("pandas.core.internals.blocks", "new_block")),
    **_named(_backed, ("pandas._libs.arrays", "__pyx_unpickle_NDArrayBacked")),
    **_named(_categorical, ("pandas", "Categorical"), (f"{CORE}.categorical", "Categorical")),
    **_named(_categorical_type, ("pandas", "CategoricalDtype")),
    **_named(_categorical_type, ("pandas.core.dtypes.dtypes", "CategoricalDtype")),
    **_named(_text, ("pandas.arrays", "StringArray"), (f"{CORE}.string_", "StringArray")),
    **_named(_text_type, ("pandas", "StringDtype"), (f"{CORE}.string_", "StringDtype")),
    **_named(_times, *((m, "DatetimeArray") for m in ("pandas.arrays", f"{CORE}.datetimes"))),
    **_named(_times, *((m, "TimedeltaArray") for m in ("pandas.arrays", f"{CORE}.timedeltas"))),
    **{
        (module, f"{name}Array"): Named(f"{name}Array", _masked(kind))
        for name, kind in MASKED.items()
        for module in ("pandas.arrays", f"{CORE}.{name.lower()}")
    },
    **_named(_masked_type, ("pandas", "BooleanDtype"), (f"{CORE}.boolean", "BooleanDtype")),
    **{
        (module, f"{name}{bits}Dtype"): Named(f"{name}{bits}Dtype", _masked_type)
        for name, sizes in SIZES.items()
        for bits in sizes
        for module in ("pandas", f"{CORE}.{'floating' if name == 'Float' else 'integer'}")
    },
    **_named(_not_a_time, *(("pandas._libs.tslibs.nattype", n) for n in ("__nat_unpickle", "_nat_unpickle"))),
    **_named(_timestamp, ("pandas._libs.tslibs.timestamps", "_unpickle_timestamp")),
    **{(module, "NA"): pd.NA for module in ("pandas", "pandas._libs.missing")},
}
