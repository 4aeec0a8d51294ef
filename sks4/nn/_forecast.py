"""The forecasting model: windows of the past in, the whole horizon out."""

from typing import Any

import torch
from torch import Tensor, nn

from sks4._validation import check_choice, check_integer

from ._backbone import S4Backbone
from ._heads import Pooling
from ._model import ssm_parameter_groups

CHANNELS = ("independent", "mixed")
POOLINGS = ("all", "last", "mean", "max")

# Where a window is constant, its scale is this, in units of the whole series.
_SMALLEST_SCALE = 1e-4


class S4ForecastModel(nn.Module):
    """Forecast the whole horizon at once, from a window of the past.

    A window is freed from its own level and scale, passed through an S4 backbone, and read by a
    linear head; a linear map of the same window is added, and level and scale are restored. Where
    covariates are known ahead, a small network of them is subtracted before and added after: a
    regression whose errors are forecast.

    Parameters
    ----------
    n_targets : int
        Number of series.
    context_length : int
        Number of past steps in a window.
    horizon : int
        Number of future steps.
    n_covariates : int, default=0
        Number of covariates, known for past and future.
    n_quantiles : int or None, default=None
        Number of outputs for each future value; None: one, without an axis of its own.
    standardize : bool, default=True
        Whether level and scale of each window are removed and restored.
    channels : {"independent", "mixed"}, default="independent"
        Whether each series is forecast from its own past with the same weights, or all of them
        from the past of all.
    pooling : {"all", "last", "mean", "max"}, default="all"
        What the head reads: the features of all steps, or those of one pooled step.
    d_model, n_layers, patch_size, dropout, norm, prenorm
        See :class:`S4Backbone`.
    **layer : dict
        Parameters of :class:`S4Layer`.

    Examples
    --------
    >>> import torch
    >>> from sks4 import nn
    >>> model = nn.S4ForecastModel(3, context_length=96, horizon=24, d_model=8, d_state=4)
    >>> model(torch.randn(5, 96, 3)).shape
    torch.Size([5, 24, 3])
    """

    def __init__(
        self,
        n_targets: int,
        context_length: int,
        horizon: int,
        *,
        n_covariates: int = 0,
        n_quantiles: int | None = None,
        standardize: bool = True,
        channels: str = "independent",
        pooling: str = "all",
        d_model: int = 16,
        n_layers: int = 2,
        patch_size: int = 8,
        dropout: float = 0.3,
        norm: str | None = "layer",
        prenorm: bool = True,
        **layer: Any,
    ) -> None:
        super().__init__()
        self.n_targets = check_integer("n_targets", n_targets)
        self.horizon = check_integer("horizon", horizon)
        self.context_length = check_integer("context_length", context_length)
        self.n_quantiles = n_quantiles
        self.standardize = standardize
        self.channels = check_choice("channels", channels, CHANNELS)
        check_choice("pooling", pooling, POOLINGS)
        n_series = 1 if channels == "independent" else self.n_targets
        n_outputs = n_series * self.horizon * (n_quantiles or 1)
        self.backbone = S4Backbone(
            n_series,
            d_model,
            n_layers,
            patch_size=patch_size,
            dropout=dropout,
            norm=norm,
            prenorm=prenorm,
            **layer,
        )
        n_steps = -(-self.context_length // patch_size)
        self.pool = nn.Flatten() if pooling == "all" else Pooling(pooling)
        self.head = nn.Linear(d_model * (n_steps if pooling == "all" else 1), n_outputs)
        self.linear = nn.Linear(n_series * self.context_length, n_outputs)
        self.regression = CovariateEffect(n_covariates, self.n_targets) if n_covariates else None

    def forward(
        self, context: Tensor, covariates: Tensor | None = None, observed: Tensor | None = None
    ) -> Tensor:
        """Map windows to forecasts.

        Parameters
        ----------
        context : Tensor of shape (batch, context_length, n_targets)
            The past, all finite.
        covariates : Tensor of shape (batch, context_length + horizon, n_covariates), optional
            Covariates of past and future. Those of a step act on no forecast of an earlier step.
        observed : Tensor of shape (batch, context_length, n_targets), bool, optional
            Whether a value was observed; what stands in the place of others has no effect. All
            were if omitted.

        Returns
        -------
        Tensor of shape (batch, horizon, n_targets) or (batch, horizon, n_targets, n_quantiles)
            The forecasts.
        """
        effect = None if self.regression is None else self.regression(covariates)
        if effect is not None:
            context = context - effect[:, : self.context_length]
        if observed is not None:
            observed = observed | ~observed.any(1, keepdim=True)
        level, scale = self._level_and_scale(context, observed)
        if observed is not None:
            context = torch.where(observed, context, level)
        forecast = self._forecast((context - level) / scale)
        if self.n_quantiles is not None:
            level, scale = level[..., None], scale[..., None]
        forecast = forecast * scale + level
        if effect is None:
            return forecast
        effect = effect[:, self.context_length :]
        return forecast + (effect if self.n_quantiles is None else effect[..., None])

    def _level_and_scale(self, u: Tensor, observed: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of what a window observes, (batch, 1, n_targets)."""
        if not self.standardize:
            return torch.zeros_like(u[:, :1]), torch.ones_like(u[:, :1])
        weight = torch.ones_like(u) if observed is None else observed.to(u.dtype)
        share = weight / weight.sum(1, keepdim=True)
        level = (share * u).sum(1, keepdim=True)
        variance = (share * (u - level).square()).sum(1, keepdim=True)
        return level, (variance + _SMALLEST_SCALE**2).sqrt()

    def _forecast(self, u: Tensor) -> Tensor:
        """Return the forecast of a window in its own units."""
        if self.channels == "independent":
            u = u.transpose(1, 2).flatten(0, 1)[..., None]  # (batch * n_targets, length, 1)
        x, _ = self.backbone(u)
        y = self.head(self.pool(x)) + self.linear(u.flatten(1))
        if self.channels == "independent":
            y = y.unflatten(0, (-1, self.n_targets)).unflatten(-1, (self.horizon, -1))
            y = y.transpose(1, 2)  # (batch, horizon, n_targets, n_quantiles)
        else:
            y = y.unflatten(-1, (self.horizon, self.n_targets, -1))
        return y if self.n_quantiles is not None else y[..., 0]

    def parameter_groups(
        self, lr: float, ssm_lr: float, weight_decay: float
    ) -> list[dict[str, Any]]:
        """Return the parameter groups of the optimizer; see :meth:`S4Model.parameter_groups`."""
        return ssm_parameter_groups(self, lr, ssm_lr, weight_decay)


class CovariateEffect(nn.Module):
    """The effect of covariates on the targets of the same step, at first none.

    Parameters
    ----------
    n_covariates : int
        Number of covariates.
    n_targets : int
        Number of targets.
    width : int, default=32
        Number of hidden units beside the linear map.
    """

    def __init__(self, n_covariates: int, n_targets: int, width: int = 32) -> None:
        super().__init__()
        self.hidden = nn.Linear(n_covariates, width)
        self.linear = nn.Linear(n_covariates + width, n_targets, bias=False)
        nn.init.zeros_(self.linear.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x (batch, length, n_covariates)`` to ``(batch, length, n_targets)``."""
        hidden = nn.functional.gelu(self.hidden(x))
        return self.linear(torch.cat([x, hidden], -1))
