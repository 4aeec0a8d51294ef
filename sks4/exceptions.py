"""Errors and warnings of sks4, all in one place."""


class S4Error(Exception):
    """Base class of the errors that sks4 defines."""


class MissingDependencyError(S4Error, ImportError):
    """An optional library is not installed; the message names the extra that brings it."""


class TrainingDivergedError(S4Error, ArithmeticError):
    """The training loss became NaN or infinite."""


class NotNumericError(S4Error, TypeError, ValueError):
    """Text, dates or durations were passed where numbers are required.

    A TypeError, and a ValueError as well, which scikit-learn raises for text.
    """


class SavedModelError(S4Error, ValueError):
    """A saved estimator cannot be read, for example because another version has written it."""


class S4Warning(UserWarning):
    """Base class of the warnings that sks4 gives."""


class DataShapeWarning(S4Warning):
    """The shape of the data looks unintended, for example with time and channels swapped."""


class MemoryLengthWarning(S4Warning):
    """The longest memory of the state space, ``1 / dt_min`` steps, is too short for the data."""


class ValidationSplitWarning(S4Warning):
    """No validation data could be set aside, so training neither validates nor stops early."""


class SavedModelWarning(S4Warning):
    """A saved estimator was written by another version of sks4."""
