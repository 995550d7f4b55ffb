"""Solutions of many small symmetric positive definite systems, one on each processor core at a time."""

import ctypes
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy.linalg import cython_lapack
from threadpoolctl import ThreadpoolController


def _routine(name):
    """A routine of the LAPACK that SciPy carries. Called this way it lets other threads run; SciPy's own does not."""
    capsule = cython_lapack.__pyx_capi__[name]
    name_of, pointer_of = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    name_of.restype, name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    signature = name_of(capsule)
    return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * (signature.count(b",") + 1))(
        pointer_of(capsule, signature)
    )


_POSV = _routine("dposv")


def solve_in_place(matrix, right):
    """Solve one system by Cholesky; both arguments are overwritten, the second by the solution.

    Parameters
    ----------
    matrix : float64 array (n, n)
        Symmetric positive definite, C-contiguous; only its upper triangle (column ≥ row) is read.
    right : float64 array (n,) or (n_right, n)
        One right-hand side in each row, C-contiguous.

    Raises
    ------
    ValueError
        If the arrays are of another kind, or the matrix is not positive definite.
    """
    n = len(matrix)
    for array, shape in ((matrix, (n, n)), (right, (n,) if right.ndim == 1 else (len(right), n))):
        if array.dtype != np.float64 or not array.flags.c_contiguous or array.shape != shape:
            raise ValueError(f"expected a contiguous float64 array {shape}, got {array.dtype} {array.shape}")
    # Read by columns, as LAPACK does, the upper triangle of a matrix stored by rows is the lower one.
    sizes = [ctypes.c_int(value) for value in (n, 1 if right.ndim == 1 else len(right), n, n, 0)]
    n_, n_right, leading, leading_right, info = (ctypes.addressof(size) for size in sizes)
    triangle = ctypes.c_char(b"L")
    _POSV(
        ctypes.addressof(triangle),
        n_,
        n_right,
        matrix.ctypes.data,
        leading,
        right.ctypes.data,
        leading_right,
        info,
    )
    if sizes[4].value:
        raise ValueError(f"the system of {n} unknowns is not positive definite: is the penalty positive?")


def each(function, items):
    """Call a function for each of some items, on all cores, with one thread for each product within a call.

    Parameters
    ----------
    function : callable
        Takes an item; what it returns is dropped.
    items : sequence

    Raises
    ------
    Exception
        The first that a call raises.
    """
    with ThreadpoolController().limit(limits=1, user_api="blas"), ThreadPoolExecutor(cores()) as pool:
        for _ in pool.map(function, items):
            pass


def cores():
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
