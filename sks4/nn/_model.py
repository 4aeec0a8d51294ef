"""The whole model: backbone and head, in one pass or as samples come in."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sks4._validation import check_choice, check_integer

from ._backbone import BackboneState, S4Backbone
from ._heads import PooledHead, PoolState, Reduction, StepHead
from ._layer import S4Layer

HEADS = ("pooled", "step")


class ModelState(NamedTuple):
    """What a model remembers of the samples it has seen.

    Attributes
    ----------
    backbone : BackboneState
        States of the layers and pending samples.
    pooled : PoolState or None
        Features pooled over the whole patches so far.
    """

    backbone: BackboneState
    pooled: PoolState | None


class S4Model(nn.Module):
    """An S4 backbone with a head.

    Parameters
    ----------
    n_inputs : int
        Number of input channels.
    n_outputs : int
        Number of classes, targets, or parameters of the next step's distribution.
    head : {"pooled", "step"}, default="pooled"
        One output for each sequence, or one for each step.
    pooling : {"mean", "last", "max"}, default="mean"
        How the pooled head reduces time.
    d_model, n_layers, patch_size, dropout, norm, prenorm, inputs, embedding
        See :class:`S4Backbone`.
    generator : torch.Generator or None, default=None
        Source of the initial weights; None for torch's global one.
    dtype : torch.dtype or None, default=None
        Dtype of the weights; None for the default one.
    **layer : dict
        Parameters of :class:`S4Layer`.

    Examples
    --------
    >>> import torch
    >>> from sks4 import nn
    >>> model = nn.S4Model(1, 10, d_model=8, n_layers=2, d_state=4)
    >>> model(torch.randn(3, 500, 1)).shape
    torch.Size([3, 10])
    """

    def __init__(
        self,
        n_inputs: int,
        n_outputs: int,
        *,
        head: str = "pooled",
        pooling: str = "mean",
        d_model: int = 64,
        n_layers: int = 4,
        patch_size: int = 1,
        dropout: float = 0.1,
        norm: str | None = "layer",
        prenorm: bool = True,
        inputs: str = "values",
        embedding: str = "values",
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        **layer: Any,
    ) -> None:
        super().__init__()
        check_choice("head", head, HEADS)
        check_integer("n_layers", n_layers)
        draw: dict[str, Any] = {"generator": generator, "dtype": dtype}
        self.backbone = S4Backbone(
            n_inputs,
            d_model,
            n_layers,
            patch_size=patch_size,
            dropout=dropout,
            norm=norm,
            prenorm=prenorm,
            inputs=inputs,
            embedding=embedding,
            **layer,
            **draw,
        )
        self.head: PooledHead | StepHead
        if head == "pooled":
            self.head = PooledHead(d_model, n_outputs, pooling, **draw)
        else:
            self.head = StepHead(d_model, n_outputs, **draw)

    def forward(self, u: Tensor, lengths: Tensor | None = None, rate: float = 1.0) -> Tensor:
        """Map whole sequences to outputs.

        Parameters
        ----------
        u : Tensor of shape (batch, length, n_inputs)
            Input; what follows the end of a sequence has no effect.
        lengths : LongTensor of shape (batch,), optional
            Number of real samples of each sequence; all of them if omitted.
        rate : float, default=1.0
            Sampling interval now over the one in training.

        Returns
        -------
        Tensor
            Shape ``(batch, n_outputs)`` from the pooled head, ``(batch, n_steps, n_outputs)`` from
            the step head.
        """
        return self.head(*self.backbone(u, lengths, rate))

    @property
    def pool(self) -> Reduction:
        """The reduction over time of the pooled head."""
        if isinstance(self.head, StepHead):
            raise TypeError("The model must have a pooled head, got a step head.")
        return self.head.pool

    def read(self, pooled: Tensor) -> Tensor:
        """Map pooled features ``(batch, d_model)`` to the output, ``(batch, n_outputs)``."""
        return self.head.linear(pooled)

    def advance(
        self, u: Tensor, state: ModelState | None = None, rate: float = 1.0
    ) -> tuple[Tensor, ModelState]:
        """Go on with sequences of which a part has been seen, in constant memory.

        The output is that of :meth:`forward` on everything seen so far; a step head gives the
        outputs of the patches that have become whole. A patch that is not yet whole is filled with
        zeros for the output, and stays open for the next call.

        Parameters
        ----------
        u : Tensor of shape (batch, length, n_inputs)
            The next samples, any number.
        state : ModelState, optional
            From the call before; a new sequence starts if omitted.
        rate : float, default=1.0
            Sampling interval now over the one in training.

        Returns
        -------
        output : Tensor
            Output for everything seen so far.
        state : ModelState
            For the next call.

        Raises
        ------
        ValueError
            If the model is bidirectional, or a shape or the rate is not valid.
        """
        x, backbone = self.backbone.advance(u, state.backbone if state else None, rate)
        if isinstance(self.head, StepHead):
            return self.head(x), ModelState(backbone, None)
        pooled = self.head.pool.update(x, state.pooled if state else None)
        complete = pooled
        if backbone.pending.shape[1]:
            last = self.backbone.finish(backbone, rate)
            complete = self.head.pool.update(last, pooled)
        assert complete is not None  # at least one sample has been seen
        return self.read(self.head.pool.result(complete)), ModelState(backbone, pooled)

    def parameter_groups(
        self, lr: float, ssm_lr: float, weight_decay: float
    ) -> list[dict[str, Any]]:
        """Return the parameter groups of the optimizer.

        The parameters of `A`, `B` and `dt` have a learning rate of their own and no weight decay;
        biases, norms and `D`, which are vectors, have no weight decay either.

        Parameters
        ----------
        lr, ssm_lr : float
            Learning rate of everything else, and of `A`, `B` and `dt`.
        weight_decay : float
            Weight decay of everything else that is not a vector.

        Returns
        -------
        list of dict
            For a torch optimizer; every parameter is in one of them.
        """
        return ssm_parameter_groups(self, lr, ssm_lr, weight_decay)

    def check_weights(self) -> None:
        """Raise if the model cannot compute with its weights.

        Raises
        ------
        ArithmeticError
            If a weight is NaN or infinite, or a step ``dt`` or a decay of a state space that is
            the exponential of a weight is zero or infinite.
        """
        check_weights(self)


def ssm_parameter_groups(
    model: nn.Module, lr: float, ssm_lr: float, weight_decay: float
) -> list[dict[str, Any]]:
    """Return the parameter groups of any module with S4 layers; see :class:`S4Model`."""
    layers = [module for module in model.modules() if isinstance(module, S4Layer)]
    dynamics = [p for layer in layers for p in layer.ssm_parameters() if p.numel()]
    known = {id(p) for layer in layers for p in layer.ssm_parameters()}
    rest = [p for p in model.parameters() if id(p) not in known]
    return [
        {"params": dynamics, "lr": ssm_lr, "weight_decay": 0.0},
        {"params": [p for p in rest if p.dim() < 2], "lr": lr, "weight_decay": 0.0},
        {"params": [p for p in rest if p.dim() >= 2], "lr": lr, "weight_decay": weight_decay},
    ]


def check_weights(model: nn.Module) -> None:
    """Raise if any module with S4 layers has weights of no use; see :class:`S4Model`."""
    values = {
        name: value for name, value in model.state_dict().items() if value.is_floating_point()
    }
    for name, module in model.named_modules():
        if isinstance(module, S4Layer):
            # in the least precision that they are computed in
            dtype = torch.promote_types(module.log_dt.dtype, torch.float32)
            for parameter in ("log_dt", "log_decay"):
                exponential = module.get_parameter(parameter).detach().to(dtype).exp()
                # the reciprocal of zero is infinite
                values[f"exp({name}.{parameter})"] = exponential + 1 / exponential
    sums = torch.stack([value.sum().float() for value in values.values()])
    if sums.isfinite().all():  # as good as always, and faster than to look at each value
        return
    bad = [name for name, value in values.items() if not value.isfinite().all()]
    if bad:
        raise ArithmeticError(
            f"All weights must be finite, and steps and decays above zero, which does not hold for "
            f"{', '.join(bad[:3])}{' and others' if len(bad) > 3 else ''}."
        )
