"""Whether disk and memory suffice for an extraction, and what would make it smaller."""

from pathlib import Path

import psutil

from lib import projection, reduction

MARGIN = 0.9  # share of what is free that may be planned for; other programs need room too


def require(cost, path, *, batch_size, spare=0):
    """Refuse an extraction that is larger than the disk or the memory.

    Parameters
    ----------
    cost : dict
        As `features.estimate` returns it.
    path : str or pathlib.Path
        Of the file to be written.
    batch_size : int
        That `cost` is for.
    spare : int
        Bytes of the file that are on the disk already.

    Raises
    ------
    ValueError
        With what is wanted, what there is, and what each alternative would take.
    """
    disk, memory = free_disk(path) + spare, free_memory()
    if cost["peak_disk"] > MARGIN * disk:
        raise ValueError(
            f"{size(cost['peak_disk'])} would be written, but only {size(disk)} are free at {path}. "
            f"Alternatives: {'; '.join(smaller(cost))}"
        )
    if cost["extra_memory"] > MARGIN * memory:
        each = cost["extra_memory"] / batch_size
        fits = int(MARGIN * memory / each)
        if fits:
            what = f"batch_size={fits}, which takes {size(fits * each)}"
        else:
            what = "fewer layers, or smaller stimuli: not even one stimulus fits"
        raise ValueError(
            f"batches of {batch_size} take {size(cost['extra_memory'])} of memory, but only {size(memory)} are "
            f"available. Alternatives: {what}; pooling or projection, after which less is kept of each layer"
        )


def smaller(cost):
    """What would make a file of features smaller, each with the size it leads to.

    Parameters
    ----------
    cost : dict
        As `features.estimate` returns it.

    Returns
    -------
    list of str
        Only what helps.
    """
    shapes, n_stimuli, bytes_each = cost["shapes"], cost["n_stimuli"], cost["bytes_each"]

    def total(units):
        return bytes_each * n_stimuli * sum(units)

    raw = [cost["units"][name] for name in shapes]
    pooled = [min(n, reduction.width(s, pooling="mean")) for n, s in zip(raw, shapes.values(), strict=True)]
    projected = [min(n, projection.dimension(cost["n_fitted"])) for n in raw]
    rest = sorted(raw)[: (len(raw) + 1) // 2] if len(raw) > 1 else raw
    options = {
        'pooling="mean"': total(pooled),
        'projection="srp"': total(projected),
        'precision="float16"': total(raw) * min(2, bytes_each) / bytes_each,
        f"the {len(rest)} smallest of {len(raw)} layers": total(rest),
    }
    return [f"{how}: {size(n)}" for how, n in options.items() if n < min(total(raw), cost["peak_disk"])]


def free_disk(path):
    """Bytes that can be written where a file is to be, whether its folders exist yet or not."""
    place = Path(path).resolve()
    while not place.exists():
        place = place.parent
    return psutil.disk_usage(str(place)).free


def free_memory():
    """Bytes of memory that can be had without swapping, within the limit of a container if there is one."""
    free = psutil.virtual_memory().available
    limit, used = (Path("/sys/fs/cgroup") / f"memory.{name}" for name in ("max", "current"))
    if limit.exists() and used.exists() and (most := limit.read_text(encoding="utf-8").strip()).isdecimal():
        free = min(free, max(0, int(most) - int(used.read_text(encoding="utf-8"))))
    return free


def size(n_bytes):
    """A number of bytes in words."""
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.4g} TB"
