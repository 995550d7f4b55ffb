"""Symmetric positive definite systems, solved in place by Cholesky, several of them at a time in threads."""

import ctypes
import functools
import os
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import scipy
from scipy.linalg import cython_lapack
from threadpoolctl import ThreadpoolController

_INT = ctypes.sizeof(ctypes.c_int)


def solve(matrix, right):
    """Solve one system; both arguments are overwritten, the second by the solution.

    Parameters
    ----------
    matrix : float64 array (n, n)
        Symmetric positive definite, stored by rows, or a block of such a one; only its upper triangle (column ≥
        row) is read.
    right : float64 array (n,) or (n_right, n)
        One right-hand side in each row, stored by rows.

    Raises
    ------
    ValueError
        If the arrays are of another kind, or the matrix is not positive definite or holds NaN.
    """
    _check(matrix, right)
    status = _call(
        "dposv", b"L", len(matrix), _count(right), matrix, _leading(matrix), right, _leading(right)
    )
    _require_definite(status, matrix)


def factor(matrix):
    """Overwrite the upper triangle of a matrix by its triangular factor U, matrix = Uᵀ U.

    Parameters
    ----------
    matrix : float64 array (n, n)
        As for `solve`. Below the diagonal it is left as it is.

    Raises
    ------
    ValueError
        As for `solve`.
    """
    _check(matrix)
    _require_definite(_call("dpotrf", b"L", len(matrix), matrix, _leading(matrix)), matrix)


def half_solve(triangle, right, *, transposed):
    """Overwrite right-hand sides b by solutions x of Uᵀ x = b (transposed) or U x = b.

    Parameters
    ----------
    triangle : float64 array (n, n)
        What `factor` made.
    right : float64 array (n,) or (n_right, n)
        One right-hand side in each row, stored by rows.
    transposed : bool

    Raises
    ------
    ValueError
        If the arrays are of another kind, or the triangle has a 0 on its diagonal.
    """
    _check(triangle, right)
    n, letters = len(triangle), b"LNN" if transposed else b"LTN"
    status = _call("dtrtrs", letters, n, _count(right), triangle, _leading(triangle), right, _leading(right))
    if status:
        raise ValueError(f"the diagonal of a triangle of {n} unknowns is 0 at {status - 1}")


def each(function, items):
    """Call a function for each of some items, on all cores, with one thread for the products within a call.

    Parameters
    ----------
    function : callable
        Takes an item.
    items : sequence

    Returns
    -------
    list
        What the calls return, in the order of the items.

    Raises
    ------
    Exception
        The first that a call raises.
    """
    with _libraries().limit(limits=1, user_api="blas"), ThreadPoolExecutor(cores()) as pool:
        return list(pool.map(function, items))


def cores():
    """Number of cores that this process may use.

    Returns
    -------
    int
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _call(name, letters, *arguments):
    """Call a LAPACK routine with letters, then sizes and arrays in its order; its status is returned.

    LAPACK reads by columns: the upper triangle of a matrix stored by rows is its lower one.
    """
    sizes = [argument for argument in arguments if not isinstance(argument, np.ndarray)]
    numbers = (ctypes.c_int * (len(sizes) + 1))(*sizes)
    address = iter(range(ctypes.addressof(numbers), ctypes.addressof(numbers) + ctypes.sizeof(numbers), _INT))
    text = ctypes.create_string_buffer(letters)
    start = ctypes.addressof(text)
    places = [
        argument.__array_interface__["data"][0] if isinstance(argument, np.ndarray) else next(address)
        for argument in arguments
    ]
    _routine(name)(*range(start, start + len(letters)), *places, next(address))
    return numbers[-1]


@functools.cache
def _routine(name):
    """A routine of the LAPACK that SciPy carries. Called this way other threads go on; SciPy's own call stops them.

    Whole numbers must be of 32 bits: with others LAPACK would read and write beside them.
    """
    capsule = cython_lapack.__pyx_capi__[name]
    name_of, pointer_of = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    name_of.restype, name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    signature = name_of(capsule)
    types = re.search(rb"\((.*)\)", signature)[1].split(b", ")
    if any(not re.fullmatch(rb"(char|int|\w*cython_lapack_d) \*", type_) for type_ in types):
        raise RuntimeError(
            f"{name} of SciPy {scipy.__version__} takes {types}, not int, char and double by address"
        )
    arguments = [ctypes.c_void_p] * len(types)
    return ctypes.CFUNCTYPE(None, *arguments)(pointer_of(capsule, signature))


@functools.cache
def _libraries():
    """The loaded libraries that have threads; to find them takes longer than a small system."""
    return ThreadpoolController()


def _count(right):
    """Number of right-hand sides."""
    return 1 if right.ndim == 1 else len(right)


def _leading(array):
    """Numbers from the start of one row to that of the next."""
    return array.shape[-1] if array.ndim == 1 else max(array.strides[0] // array.itemsize, array.shape[-1])


def _check(matrix, *rights):
    """Raise unless the matrix is square, the right-hand sides fit it, and all can be overwritten by LAPACK."""
    n = len(matrix)
    for array, shapes in [(matrix, [(n, n)])] + [(right, [(n,), (_count(right), n)]) for right in rights]:
        if array.dtype != np.float64 or array.shape not in shapes or not _by_rows(array):
            raise ValueError(
                f"expected a float64 array {shapes[-1]} by rows that can be written, got {array.dtype} "
                f"{array.shape} with strides {array.strides}"
            )


def _by_rows(array):
    """Whether LAPACK can overwrite an array: numbers of a row side by side, rows ascending and apart."""
    step = array.strides[0] if len(array) > 1 else array.nbytes
    apart = array.ndim == 1 or (step >= array.shape[1] * array.itemsize and step % array.itemsize == 0)
    return apart and array.strides[-1] == array.itemsize and array.flags.writeable and array.size > 0


def _require_definite(status, matrix):
    """Raise if a factorisation has failed: NaN, which some libraries let pass, ends in the last of the diagonal."""
    if status or np.isnan(matrix[-1, -1]):
        raise ValueError(
            f"a system of {len(matrix)} unknowns is not positive definite: is the penalty positive?"
        )
