"""Who has called: the user, a worker, or a search that makes many fits.

joblib leaves no public trace of a call in the process of its user, as scikit-learn makes with
``n_jobs=1``. The stack of the thread has one in every case: with processes, threads, clusters, and
one after the other.
"""

import multiprocessing
import traceback

_WORKERS = ("joblib.externals.loky", "loky", "distributed")
_SERIES = ("joblib", "sklearn.model_selection", "dask", "distributed")


def is_in_worker_process() -> bool:
    """Return whether another process has started this one to work for it."""
    return multiprocessing.parent_process() is not None or _is_called_from(_WORKERS)


def is_one_of_many() -> bool:
    """Return whether this may be one of many calls: of a worker, a search or a cross-validation."""
    return is_in_worker_process() or _is_called_from(_SERIES)


def _is_called_from(packages: tuple[str, ...]) -> bool:
    """Return whether a function of one of the packages is on the stack of this thread."""
    return any(
        f"{frame.f_globals.get('__name__')}.".startswith(tuple(f"{name}." for name in packages))
        for frame, _ in traceback.walk_stack(None)
    )
