"""The training loop: takes batches of tensors and callables, and knows no model and no data."""

from sks4.training._batch import Batches, BatchSampler
from sks4.training._callbacks import (
    EarlyStopping,
    FirstLook,
    WeightAverage,
)
from sks4.training._history import TrainingHistory
from sks4.training._likelihoods import (
    CategoricalLikelihood,
    GaussianLikelihood,
    Likelihood,
    LogisticMixtureLikelihood,
)
from sks4.training._losses import (
    REGRESSION_LOSSES,
    AbsoluteError,
    CrossEntropy,
    Huber,
    Quantile,
    SquaredError,
    regression_loss,
    weighted_mean,
)
from sks4.training._mixup import Mixup
from sks4.training._net import S4Net
from sks4.training._progress import Progress, display_callbacks, has_bars, reading
from sks4.training._schedule import Budget, LearningRateSchedule, warmup_cosine
from sks4.training._stretch import Stretch

__all__ = [
    "REGRESSION_LOSSES",
    "AbsoluteError",
    "BatchSampler",
    "Batches",
    "Budget",
    "CategoricalLikelihood",
    "CrossEntropy",
    "EarlyStopping",
    "FirstLook",
    "GaussianLikelihood",
    "Huber",
    "LearningRateSchedule",
    "Likelihood",
    "LogisticMixtureLikelihood",
    "Mixup",
    "Progress",
    "Quantile",
    "S4Net",
    "SquaredError",
    "Stretch",
    "TrainingHistory",
    "WeightAverage",
    "display_callbacks",
    "has_bars",
    "reading",
    "regression_loss",
    "warmup_cosine",
    "weighted_mean",
]
