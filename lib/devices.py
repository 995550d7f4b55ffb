"""Arrays on a torch device or none: the same code treats both, some columns at a time."""

import numpy as np

# Voxels treated together: enough to keep a processor busy, few enough for its cache.
VOXELS_PER_STEP = 2048
VOXELS_PER_STEP_ON_DEVICE = 65536


def steps(n_voxels, device):
    """Slices of voxels that are treated together.

    Parameters
    ----------
    n_voxels : int
    device : str or None
        Torch device; None is NumPy.

    Returns
    -------
    list of slice
    """
    step = VOXELS_PER_STEP if device is None else VOXELS_PER_STEP_ON_DEVICE
    return [slice(start, start + step) for start in range(0, n_voxels, step)]


def on(array, device):
    """The array itself, or a float64 tensor of it on a device.

    Parameters
    ----------
    array : array
    device : str or None
        Torch device; None is NumPy.

    Returns
    -------
    array or torch.Tensor
    """
    if device is None:
        return array
    import torch

    return torch.as_tensor(array, dtype=torch.float64, device=device)


def off(array):
    """The array itself, or a tensor's values as an array.

    Parameters
    ----------
    array : array or torch.Tensor

    Returns
    -------
    array
    """
    return array if isinstance(array, np.ndarray) else array.cpu().numpy()


def joined(pieces):
    """Arrays or tensors side by side.

    Parameters
    ----------
    pieces : sequence of array or torch.Tensor (n_rows, any)
        At least one.

    Returns
    -------
    array or torch.Tensor (n_rows, all)
    """
    if isinstance(pieces[0], np.ndarray):
        return np.concatenate(pieces, axis=1)
    import torch

    return torch.cat(pieces, dim=1)
