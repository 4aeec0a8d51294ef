"""Torch modules around the mathematics of :mod:`sks4.ssm`."""

from ._backbone import BackboneState, S4Backbone
from ._bank import FilterBank
from ._block import S4Block
from ._compiled_draws import CompiledDraws, can_draw
from ._forecast import S4ForecastModel
from ._heads import PooledHead, Pooling, PoolState, StepHead
from ._layer import S4Layer
from ._model import ModelState, S4Model
from ._spectrum import PatchSpectrum
from ._stepper import ModelStepper, S4Stepper, StepperState
from ._summary import Summary
from ._summary_model import AllFeatures, FeatureState, Recall, SummaryModel, SummaryState

__all__ = [
    "AllFeatures",
    "BackboneState",
    "CompiledDraws",
    "FeatureState",
    "FilterBank",
    "ModelState",
    "ModelStepper",
    "PatchSpectrum",
    "PoolState",
    "PooledHead",
    "Pooling",
    "Recall",
    "S4Backbone",
    "S4Block",
    "S4ForecastModel",
    "S4Layer",
    "S4Model",
    "S4Stepper",
    "StepHead",
    "StepperState",
    "Summary",
    "SummaryModel",
    "SummaryState",
    "can_draw",
]
