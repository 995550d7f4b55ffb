"""Many systems that are each some rows and columns of one matrix, in batches on a torch device."""

import torch

# Numbers of a batch of gathered matrices: 1 GB in float64.
BATCH = 1 << 27


def chosen(scores, n):
    """Positions of the n largest in each row, ascending; of equal ones, the first.

    Parameters
    ----------
    scores : torch.Tensor (n_rows, n_columns)
    n : int

    Returns
    -------
    int64 torch.Tensor (n_rows, n)
    """
    least = torch.topk(scores, n, dim=1, sorted=False).values.min(dim=1, keepdim=True).values
    above, equal = scores > least, scores == least
    missing = n - above.sum(dim=1, keepdim=True)
    above |= equal & (equal.cumsum(dim=1) <= missing)
    return above.nonzero()[:, 1].reshape(len(scores), n)


def solve(matrix, selected, right):
    """Solutions of all systems, each by its own Cholesky factor.

    Parameters
    ----------
    matrix : float64 torch.Tensor (n, n)
        Symmetric positive definite.
    selected : int64 torch.Tensor (n_systems, n_selected)
        Positions of the unknowns of each system.
    right : float64 torch.Tensor (n_systems, n)
        Right-hand sides at all positions.

    Returns
    -------
    float64 torch.Tensor (n_systems, n_selected)
    """
    solutions = torch.empty(selected.shape, dtype=torch.float64, device=matrix.device)
    step = max(1, BATCH // selected.shape[1] ** 2)
    for start in range(0, len(selected), step):
        S, part = selected[start : start + step], slice(start, start + step)
        factor = torch.linalg.cholesky(matrix[S[:, :, None], S[:, None, :]])
        solutions[part] = torch.cholesky_solve(right[part].gather(1, S)[:, :, None], factor)[:, :, 0]
    return solutions
