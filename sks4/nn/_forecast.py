"""The forecasting model: windows of the past in, the whole horizon out."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sks4._validation import check_choice, check_integer

from ._backbone import S4Backbone
from ._heads import Pooling
from ._initial import embedding, linear, zero_linear
from ._model import check_weights, ssm_parameter_groups
from ._random import RandomModule, eagerly

CHANNELS = ("independent", "mixed")
POOLINGS = ("all", "last", "mean", "max")

# Keeps windows that hardly vary from being amplified, in units of the whole series.
_SMALLEST_SCALE = 1e-4

# Values this many times as far from the last ones as the middle 80 percent are wide are not read.
_LOW, _HIGH, _FARTHEST = 0.1, 0.9, 4.0

# Width of the embedding of a series, and the share of windows that train that of an unknown one.
_EMBEDDING, _UNKNOWN = 8, 0.1

# Rows of a window, evenly spread, that this width comes from, at most.
_ROWS_OF_SCALE = 128


class S4ForecastModel(RandomModule):
    """Forecast the whole horizon at once, from a window of the past.

    A window is normalized by its own level, the last value, and its own scale; a constant one has
    no scale, and its forecast is the constant. With `standardize`, spikes, and values from before a
    shift of the level, count as missing. Two paths continue the normalized window, and the forecast
    is their mean: an S4 backbone over patches, read by a linear head, and one linear map for all
    series. In training each window goes through one of the two, drawn at random. So each path
    learns to forecast by itself, and their mean is that of two models, with errors that partly
    cancel. Both begin as a naive forecast: the last value, or the last season.

    Where covariates are known ahead, a small network of them is subtracted before and added after:
    a regression whose errors are forecast. Of many series, static features and an embedding of each
    series are read by this network, too, and by another one of the normalized window.

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
        Whether the backbone reads each series by itself, with the same weights for all, or all of
        them together.
    pooling : {"all", "last", "mean", "max"}, default="all"
        What the head reads: the features of all steps, or those of one pooled step.
    n_static : int, default=0
        Number of features of a whole window.
    n_known : int, default=0
        Number of series that have an embedding, one more being that of all others.
    period : int, default=1
        Number of steps of the season that the first forecast repeats; 1: the last value.
    gap_period : int, default=1
        Number of steps of the season that continues a window whose last values are missing; 1: the
        last value does.
    d_model, n_layers, patch_size, dropout, norm, prenorm
        See :class:`S4Backbone`. The first patch is filled with zeros, which are the level.
    generator : torch.Generator or None, default=None
        Source of the initial weights; None for torch's global one.
    dtype : torch.dtype or None, default=None
        Dtype of the weights; None for the default one.
    **layer : dict
        Parameters of :class:`S4Layer`.

    References
    ----------
    Zeng et al. 2023 (Are Transformers Effective for Time Series Forecasting?, AAAI), the linear map
    from the last value; Kim et al. 2022 (Reversible Instance Normalization, ICLR), the scaling;
    Nie et al. 2023 (A Time Series is Worth 64 Words, ICLR), patches of independent channels.

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
        n_static: int = 0,
        n_known: int = 0,
        period: int = 1,
        gap_period: int = 1,
        d_model: int = 16,
        n_layers: int = 2,
        patch_size: int = 24,
        dropout: float = 0.3,
        norm: str | None = "layer",
        prenorm: bool = True,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        **layer: Any,
    ) -> None:
        super().__init__()
        self.n_targets = check_integer("n_targets", n_targets)
        self.horizon = check_integer("horizon", horizon)
        self.context_length = check_integer("context_length", context_length)
        self.n_covariates = check_integer("n_covariates", n_covariates, minimum=0)
        if n_quantiles is not None:
            check_integer("n_quantiles", n_quantiles)
        self.n_quantiles = n_quantiles
        self.standardize = standardize
        self.period = check_integer("period", period)
        self.gap_period = check_integer("gap_period", gap_period)
        for name, steps in (("period", self.period), ("gap_period", self.gap_period)):
            if steps > self.context_length:
                raise ValueError(
                    f"{name} must be at most context_length={context_length}, got {steps}."
                )
        self.channels = check_choice("channels", channels, CHANNELS)
        check_choice("pooling", pooling, POOLINGS)
        n_series = 1 if channels == "independent" else self.n_targets
        n_outputs = self.horizon * (n_quantiles or 1)
        self.backbone = S4Backbone(
            n_series,
            d_model,
            n_layers,
            patch_size=patch_size,
            dropout=dropout,
            norm=norm,
            prenorm=prenorm,
            generator=generator,
            dtype=dtype,
            **layer,
        )
        n_steps = -(-self.context_length // patch_size)
        self.pool = nn.Flatten() if pooling == "all" else Pooling(pooling)
        n_features = d_model * (n_steps if pooling == "all" else 1)
        self.head = zero_linear(n_features, n_series * n_outputs, dtype=dtype)
        self.linear = zero_linear(self.context_length, n_outputs, dtype=dtype)
        self.n_static = check_integer("n_static", n_static, minimum=0)
        self.embedding: nn.Embedding | None = None
        if check_integer("n_known", n_known, minimum=0):
            self.embedding = embedding(n_known + 1, _EMBEDDING, generator=generator, dtype=dtype)
        n_attributes = self.n_static + (_EMBEDDING if n_known else 0)
        self.correction: CovariateEffect | None = None
        if n_attributes:
            self.correction = CovariateEffect(
                self.context_length + n_attributes, n_outputs, generator=generator, dtype=dtype
            )
        self.regression: CovariateEffect | None = None
        if n_covariates:
            self.regression = CovariateEffect(
                n_covariates + n_attributes, self.n_targets, generator=generator, dtype=dtype
            )

    def forward(
        self,
        context: Tensor,
        covariates: Tensor | None = None,
        observed: Tensor | None = None,
        static: Tensor | None = None,
        identity: Tensor | None = None,
    ) -> Tensor:
        """Map windows to forecasts.

        Parameters
        ----------
        context : Tensor of shape (batch, context_length, n_targets)
            The past, all finite.
        covariates : Tensor of shape (batch, context_length + horizon, n_covariates), optional
            Covariates of past and future. Those of a step act on no forecast of an earlier step.
        observed : Tensor of shape (batch, context_length, n_targets), bool, optional
            Whether a value was observed; what replaces the others has no effect. All
            were if omitted.
        static : Tensor of shape (batch, n_static), optional
            Features of each window.
        identity : Tensor of shape (batch,), int64, optional
            The series of each window from 1 on, 0 for one that is not known. In training, some are
            taken for one, so that its embedding is trained, too.

        Returns
        -------
        Tensor of shape (batch, horizon, n_targets) or (batch, horizon, n_targets, n_quantiles)
            The forecasts.

        Raises
        ------
        ValueError
            If a shape does not fit.
        """
        self._check_input(context, covariates, observed)
        attributes = self._attributes(static, identity)
        effect = self._effect(covariates, attributes)
        if effect is not None:
            context = context - effect[:, : self.context_length]
        if observed is not None:
            observed = observed | ~observed.any(1, keepdim=True)
        observed = _near(context, observed)
        level, scale = self._level_and_scale(context, observed)
        context = _filled(context, observed, level, self.gap_period)
        if self.standardize:
            level = context[:, -1:]
        u = (context - level) / scale
        forecast = self._forecast(u)
        if self.period > 1:
            season = self._last_season(u, observed)
            forecast = forecast + (season if self.n_quantiles is None else season[..., None])
        if self.correction is not None and attributes is not None:
            forecast = forecast + self._correct(u, attributes).reshape(forecast.shape)
        if self.standardize:  # a constant window has no unit, and is continued as it is
            scale = torch.where((context == level).all(1, keepdim=True), 0, scale)
        if self.n_quantiles is not None:
            level, scale = level[..., None], scale[..., None]
        forecast = forecast * scale + level
        if effect is None:
            return forecast
        effect = effect[:, self.context_length :]
        return forecast + (effect if self.n_quantiles is None else effect[..., None])

    def _check_input(
        self, context: Tensor, covariates: Tensor | None, observed: Tensor | None
    ) -> None:
        """Raise if a shape does not fit."""
        if context.dim() != 3 or context.shape[1:] != (self.context_length, self.n_targets):
            raise ValueError(
                f"context must have shape (batch, {self.context_length}, {self.n_targets}), got "
                f"{tuple(context.shape)}."
            )
        if observed is not None and observed.shape != context.shape:
            raise ValueError(
                f"observed must have the shape of context, {tuple(context.shape)}, got "
                f"{tuple(observed.shape)}."
            )
        shape = (len(context), self.context_length + self.horizon, self.n_covariates)
        if self.n_covariates and (covariates is None or covariates.shape != shape):
            got = None if covariates is None else tuple(covariates.shape)
            raise ValueError(
                f"covariates must have shape (batch, context_length + horizon, n_covariates) = "
                f"{shape}, got {got}."
            )
        if not self.n_covariates and covariates is not None:
            raise ValueError(
                f"covariates must be None for a model with n_covariates=0, got "
                f"{tuple(covariates.shape)}."
            )

    def _attributes(self, static: Tensor | None, identity: Tensor | None) -> Tensor | None:
        """Return what is known of each window as a whole, (batch, n_attributes)."""
        parts = []
        if self.n_static:
            if static is None or static.shape[1:] != (self.n_static,):
                got = None if static is None else tuple(static.shape)
                raise ValueError(f"static must have shape (batch, {self.n_static}), got {got}.")
            parts.append(static)
        if self.embedding is not None:
            if identity is None:
                raise ValueError("identity must be given for a model with n_known, got None.")
            if self.training:
                is_kept = eagerly(self._draw_kept)(len(identity)).to(identity.device)
                identity = torch.where(is_kept, identity, 0)
            parts.append(self.embedding(identity))
        return torch.cat(parts, dim=1) if parts else None

    def _draw_kept(self, n_rows: int) -> Tensor:
        return torch.rand(n_rows, generator=self.generator, device="cpu") >= _UNKNOWN

    def _effect(self, covariates: Tensor | None, attributes: Tensor | None) -> Tensor | None:
        """Return the effect of covariates, which may depend on the series."""
        if self.regression is None or covariates is None:
            return None
        if attributes is not None:
            steps = attributes[:, None].expand(-1, covariates.shape[1], -1)
            covariates = torch.cat([covariates, steps], dim=2)
        return self.regression(covariates)

    def _correct(self, u: Tensor, attributes: Tensor) -> Tensor:
        """Return what the attributes change, (batch, horizon, n_targets, n_quantiles)."""
        assert self.correction is not None
        of_targets = attributes[:, None].expand(-1, self.n_targets, -1)
        y = self.correction(torch.cat([u.mT, of_targets], dim=2))
        return y.unflatten(2, (self.horizon, -1)).transpose(1, 2)

    def _level_and_scale(self, u: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
        """Return last value and standard deviation of what a window observes.

        Both have the shape (batch, 1, n_targets).
        """
        if not self.standardize:
            return torch.zeros_like(u[:, :1]), torch.ones_like(u[:, :1])
        steps = torch.arange(u.shape[1], device=u.device)[:, None]
        level = u.gather(1, torch.where(observed, steps, 0).amax(1, keepdim=True))
        share = observed.to(u.dtype) / observed.sum(1, keepdim=True)
        mean = (share * u).sum(1, keepdim=True)
        variance = (share * (u - mean).square()).sum(1, keepdim=True)
        return level, (variance + _SMALLEST_SCALE**2).sqrt()

    def _last_season(self, u: Tensor, observed: Tensor) -> Tensor:
        """Return the last values at each step of a season, (batch, horizon, n_targets).

        Of a step that was never observed, the level, which is zero.
        """
        n_seasons = u.shape[1] // self.period
        seasons = u[:, u.shape[1] - n_seasons * self.period :]
        seasons = seasons.unflatten(1, (n_seasons, self.period))
        known = observed[:, -n_seasons * self.period :].unflatten(1, (n_seasons, self.period))
        season = torch.zeros_like(seasons[:, -1])
        for i in range(n_seasons):
            season = torch.where(known[:, i], seasons[:, i], season)
        return season[:, torch.arange(self.horizon, device=u.device) % self.period]

    def _forecast(self, u: Tensor) -> Tensor:
        """Return the forecast of a window in its own units."""
        u = u.mT  # (batch, n_targets, context_length)
        if self.channels == "independent":
            u = u.flatten(0, 1)[:, None]  # (batch * n_targets, 1, context_length)
        y = self._mean_of_paths(u)
        y = y.reshape(-1, self.n_targets, self.horizon, self.n_quantiles or 1)
        y = y.transpose(1, 2)  # (batch, horizon, n_targets, n_quantiles)
        return y if self.n_quantiles is not None else y[..., 0]

    def _mean_of_paths(self, u: Tensor) -> Tensor:
        """Map ``u (rows, n_series, context_length)`` to ``(rows, n_series, n_outputs)``.

        In training, half of the rows go through either path; a row alone goes through both.
        """
        if not self.training or len(u) == 1:
            return (self.linear(u) + self._state_space(u)) / 2
        order = eagerly(self._permutation)(len(u)).to(u.device)
        first, second = order.tensor_split(2)
        y = torch.cat([self._state_space(u[first]), self.linear(u[second])])
        return y[order.argsort()]

    def _permutation(self, n_rows: int) -> Tensor:
        return torch.randperm(n_rows, generator=self.generator, device="cpu")

    def _state_space(self, u: Tensor) -> Tensor:
        """Continue ``u (rows, n_series, context_length)`` by the backbone and its head."""
        u = functional.pad(u, (-u.shape[-1] % self.backbone.patch_size, 0))
        x, _ = self.backbone(u.mT)  # (rows, n_patches, d_model)
        return self.head(self.pool(x)).unflatten(-1, (u.shape[1], -1))

    def parameter_groups(
        self, lr: float, ssm_lr: float, weight_decay: float
    ) -> list[dict[str, Any]]:
        """Return the parameter groups of the optimizer; see :meth:`S4Model.parameter_groups`."""
        return ssm_parameter_groups(self, lr, ssm_lr, weight_decay)

    def check_weights(self) -> None:
        """Raise if the model cannot compute with its weights; see :meth:`S4Model.check_weights`."""
        check_weights(self)


def _near(u: Tensor, observed: Tensor | None) -> Tensor:
    """Return which values of ``u (batch, length, n_targets)`` are neither spikes nor out of date.

    Those that are observed and not far from the median of the last three; what is further away is
    a spike, or from before a shift of the level.
    """
    u = u.detach()
    if observed is None:
        observed = torch.ones_like(u, dtype=torch.bool)
    every = -(-u.shape[1] // _ROWS_OF_SCALE)
    known = observed[:, ::every].mT
    some = u[:, ::every].mT.contiguous()  # sorting neighbors is faster
    ordered = torch.where(known, some, torch.inf).sort(-1).values
    last = known.sum(-1, keepdim=True) - 1
    low, high = (
        ordered.gather(-1, (last.clamp_min(0) * share).round().long()) for share in (_LOW, _HIGH)
    )
    reach = torch.where((high > low) & (last > 0), _FARTHEST * (high - low), torch.inf).mT
    near = observed & ((u - _median_of_last(u, observed)).abs() <= reach)
    return near | ~near.any(1, keepdim=True)


def _filled(u: Tensor, observed: Tensor, level: Tensor, period: int) -> Tensor:
    """Return ``u (batch, length, n_targets)`` with straight lines where it is not observed.

    Before the first value that is observed, it is the last one, the level (batch, 1, n_targets).
    After the last one, the season goes on; see `_continued`.
    """
    if not torch.compiler.is_compiling() and observed.all():
        return u  # the usual case
    length = u.shape[1]
    steps = torch.arange(length, device=u.device)[:, None].expand_as(u)
    before = torch.where(observed, steps, -1).cummax(1).values
    after = torch.where(observed, steps, length).flip(1).cummin(1).values.flip(1)
    left = torch.where(before >= 0, u.gather(1, before.clamp_min(0)), level)
    right = u.gather(1, after.clamp_max(length - 1))
    is_inside = (before >= 0) & (after < length)
    share = torch.where(is_inside, (steps - before) / (after - before).clamp_min(1), 0)
    line = left + share * (right - left)
    return _continued(torch.where(observed, u, line), observed, level, period)


def _continued(u: Tensor, observed: Tensor, level: Tensor, period: int) -> Tensor:
    """Return ``u (batch, length, n_targets)`` with the season repeated after the last known value.

    What differs from the season before is a first-order autoregression, whose coefficient is that
    of these differences in the window: the season is repeated from the last value on where they
    hardly change, and as it was where they are noise.
    """
    steps = torch.arange(u.shape[1], device=u.device)[:, None].expand_as(u)
    last = torch.where(observed, steps, 0).amax(1, keepdim=True)
    n_after = (steps - last).clamp_min(0)
    same = steps - (n_after + period - 1) // period * period  # the same row of the last season
    season = torch.where(same >= 0, u.gather(1, same.clamp_min(0)), level)
    if period == 1:
        return torch.where(n_after > 0, season, u)
    change = (u[:, period:] - u[:, :-period]).detach()
    known = observed[:, period:] & observed[:, :-period]
    known = known[:, 1:] & known[:, :-1]
    products = torch.where(known, change[:, 1:] * change[:, :-1], 0).sum(1, keepdim=True)
    squares = torch.where(known, change[:, :-1].square(), 0).sum(1, keepdim=True)
    coefficient = torch.where(squares > 0, products / squares, 0).clamp(0, 1)
    before = torch.where(last >= period, u.gather(1, (last - period).clamp_min(0)), level)
    change_at_last = u.gather(1, last) - before
    return torch.where(n_after > 0, season + change_at_last * coefficient**n_after, u)


def _median_of_last(u: Tensor, observed: Tensor) -> Tensor:
    """Return the median of the last three observed values, shape (batch, 1, n_targets)."""
    steps = torch.arange(u.shape[1], device=u.device)[:, None]
    latest = torch.where(observed, steps, -1).topk(min(3, u.shape[1]), dim=1).indices
    values = u.gather(1, latest)
    first = values[:, :1]  # the last one stands for those that there are not
    return torch.where(observed.gather(1, latest), values, first).median(dim=1, keepdim=True).values


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
    generator : torch.Generator or None, default=None
        Source of the initial weights; None for torch's global one.
    dtype : torch.dtype or None, default=None
        Dtype of the weights; None for the default one.
    """

    def __init__(
        self,
        n_covariates: int,
        n_targets: int,
        width: int = 32,
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.hidden = linear(n_covariates, width, generator=generator, dtype=dtype)
        self.linear = zero_linear(n_covariates + width, n_targets, bias=False, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x (batch, length, n_covariates)`` to ``(batch, length, n_targets)``."""
        hidden = functional.gelu(self.hidden(x))
        return self.linear(torch.cat([x, hidden], -1))
