"""Execute a notebook in a kernel of this very Python, and end the kernels that are left."""

import contextlib
import traceback

import psutil
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpecManager
from traitlets import default

from lib.artefacts import ROOT

DEAD = (
    "the kernel was killed or crashed; if memory ran out: fewer jobs at a time (--jobs 1), or smaller batches"
)


class Kernel(AsyncKernelManager):
    """A kernel of this very Python, whichever others a person has installed."""

    @default("kernel_spec_manager")
    def _this_python(self):
        return KernelSpecManager(kernel_dirs=[])


def execute(notebook, output, parameters, *, keep=()):
    """Run a notebook from the repository's folder and keep the executed copy, failed or not.

    Parameters
    ----------
    notebook, output : pathlib.Path
        The copy is saved after each cell.
    parameters : dict
        Name → value, in place of the defaults of the cell tagged `parameters`.
    keep : sequence of int
        File descriptors that the kernel shares until it ends: a lock that must outlive a killed runner, say.

    Raises
    ------
    papermill.PapermillExecutionError
        If a cell raises.
    nbclient.exceptions.DeadKernelError
        If the kernel is killed.
    """

    class Keeping(Kernel):
        """A kernel that shares descriptors."""

        async def start_kernel(self, **options):
            await super().start_kernel(**options, **({"pass_fds": keep} if keep else {}))

    import papermill  # takes longer to import than it takes to find everything fresh

    papermill.execute_notebook(
        notebook,
        output,
        parameters,
        kernel_name="python3",
        language="python",
        progress_bar=False,
        kernel_manager_class=Keeping,
        extra_arguments=["--log-level=CRITICAL"],  # what a cell prints or raises is in the copy
        resources={"metadata": {"path": str(ROOT)}},  # the kernel's folder; `cwd` would move all threads
    )


def last_line(error):
    """Last line of an error's traceback: `ValueError: shapes differ`.

    Parameters
    ----------
    error : Exception
        The error of a cell counts as itself, not as papermill's.

    Returns
    -------
    str
        One line.
    """
    if type(error).__name__ == "DeadKernelError":  # a class of a package that is slow to import
        return f"DeadKernelError: {DEAD}"
    if hasattr(error, "ename"):
        return f"{error.ename}: {error.evalue}".splitlines()[0]
    return "".join(traceback.format_exception_only(error)).strip().splitlines()[0]


def stop():
    """Kill the kernels that this process started; the notebooks they ran end in a DeadKernelError."""
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if "ipykernel_launcher" in child.cmdline():
                child.kill()
