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
    horizon : int
        Number of future steps.
    context_length : int
        Number of past steps in a window.
    n_covariates : int, default=0
        Number of covariates, known for past and future.
    n_quantiles : int or None, default=None
        Number of outputs for each future value; None: one, without an axis of its own.
    has_mask : bool, default=False
        Whether the backbone also reads where values are missing.
    standardize_window : bool, default=True
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
    >>> model = nn.S4ForecastModel(3, horizon=24, context_length=96, d_model=8, n_layers=1, d_state=4)
    >>> model(torch.randn(5, 96, 3)).shape
    torch.Size([5, 24, 3])
    """

    def __init__(
        self,
        n_targets: int,
        horizon: int,
        context_length: int,
        *,
        n_covariates: int = 0,
        n_quantiles: int | None = None,
        has_mask: bool = False,
        standardize_window: bool = True,
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
        self.has_mask = has_mask
        self.standardize_window = standardize_window
        self.channels = check_choice("channels", channels, CHANNELS)
        check_choice("pooling", pooling, POOLINGS)
        n_series = 1 if channels == "independent" else self.n_targets
        n_outputs = n_series * self.horizon * (n_quantiles or 1)
        self.backbone = S4Backbone(
            n_series * (2 if has_mask else 1),
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
        self,
        u: Tensor,
        missing: Tensor | None = None,
        x_past: Tensor | None = None,
        x_future: Tensor | None = None,
    ) -> Tensor:
        """Map windows to forecasts.

        Parameters
        ----------
        u : Tensor of shape (batch, context_length, n_targets)
            The past, with missing values filled.
        missing : Tensor of shape (batch, context_length, n_targets), optional
            1 where a value is filled, else 0; needed if the model has a mask.
        x_past : Tensor of shape (batch, context_length, n_covariates), optional
            Covariates of the past.
        x_future : Tensor of shape (batch, horizon, n_covariates), optional
            Covariates of the future. Those of a step act on the forecast of that step alone.

        Returns
        -------
        Tensor of shape (batch, horizon, n_targets) or (batch, horizon, n_targets, n_quantiles)
            The forecasts.
        """
        if self.regression is not None:
            u = u - self.regression(x_past)
        level, scale = self._level_and_scale(u, missing)
        forecast = self._forecast((u - level) / scale, missing)
        if self.n_quantiles is not None:
            level, scale = level[..., None], scale[..., None]
        forecast = forecast * scale + level
        if self.regression is None:
            return forecast
        effect = self.regression(x_future)
        return forecast + (effect if self.n_quantiles is None else effect[..., None])

    def _level_and_scale(self, u: Tensor, missing: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of what a window observes, (batch, 1, n_targets)."""
        if not self.standardize_window:
            return u.new_zeros(()), u.new_ones(())
        if missing is None:
            level = u.mean(1, keepdim=True)
            variance = (u - level).square().mean(1, keepdim=True)
        else:
            observed = 1 - missing
            observed = torch.where(observed.sum(1, keepdim=True) > 0, observed, 1.0)
            share = observed / observed.sum(1, keepdim=True)
            level = (share * u).sum(1, keepdim=True)
            variance = (share * (u - level).square()).sum(1, keepdim=True)
        return level, (variance + _SMALLEST_SCALE**2).sqrt()

    def _forecast(self, u: Tensor, missing: Tensor | None) -> Tensor:
        """Return the forecast of a window in its own units."""
        parts = [u, missing] if self.has_mask and missing is not None else [u]
        if self.channels == "independent":
            parts = [part.transpose(1, 2).flatten(0, 1)[..., None] for part in parts]
        x, _ = self.backbone(torch.cat(parts, -1))  # (batch * n_targets or batch, n_steps, d_model)
        y = self.head(self.pool(x)) + self.linear(parts[0].flatten(1))
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
