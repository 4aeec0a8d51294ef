"""Data: arrays and frames in, scaled and padded torch batches out."""

from sks4.data._advice import (
    advice_on_length,
    check_one_target_each,
    check_requested_rows,
    check_same_names,
    other_form_message,
)
from sks4.data._batching import BucketBatchSampler, DrawnBatchSampler, SequenceDataset
from sks4.data._calendar import Calendar, check_calendar
from sks4.data._codecs import Codec, SymbolCodec, ValueCodec
from sks4.data._containers import as_panel
from sks4.data._gaps import GapFiller, GapState, fill_forward
from sks4.data._inputs import (
    as_sample,
    as_sequences,
    as_targets,
    as_weights,
    check_numbers,
    column_names,
    plain_data,
)
from sks4.data._label_kinds import labels_in, time_index
from sks4.data._long import from_long, to_long
from sks4.data._next_step import (
    NextSymbolDataset,
    NextValueDataset,
    shift_symbols,
    shift_values,
)
from sks4.data._panel import Panel
from sks4.data._period import find_period, periods_of_step
from sks4.data._rows import (
    Columns,
    TargetForm,
    TimeRows,
    check_covariates,
    check_each_observed,
    check_series,
)
from sks4.data._scaling import SequenceEncoder, Standardizer, level_and_spread
from sks4.data._series_container import (
    SeriesContainer,
    SeriesItems,
    container_of,
    holds_many_series,
)
from sks4.data._smoothing import Smoother, SmoothingState, nan_median
from sks4.data._streaming import StreamEncoder
from sks4.data._symbols import SymbolEncoder
from sks4.data._timeline import Timeline
from sks4.data._windows import EncodedSeries, SeriesEncoder, WindowDataset

__all__ = [
    "BucketBatchSampler",
    "Calendar",
    "Codec",
    "Columns",
    "DrawnBatchSampler",
    "EncodedSeries",
    "GapFiller",
    "GapState",
    "NextSymbolDataset",
    "NextValueDataset",
    "Panel",
    "SequenceDataset",
    "SequenceEncoder",
    "SeriesContainer",
    "SeriesEncoder",
    "SeriesItems",
    "Smoother",
    "SmoothingState",
    "Standardizer",
    "StreamEncoder",
    "SymbolCodec",
    "SymbolEncoder",
    "TargetForm",
    "TimeRows",
    "Timeline",
    "ValueCodec",
    "WindowDataset",
    "advice_on_length",
    "as_panel",
    "as_sample",
    "as_sequences",
    "as_targets",
    "as_weights",
    "check_calendar",
    "check_covariates",
    "check_each_observed",
    "check_numbers",
    "check_one_target_each",
    "check_requested_rows",
    "check_same_names",
    "check_series",
    "column_names",
    "container_of",
    "fill_forward",
    "find_period",
    "from_long",
    "holds_many_series",
    "labels_in",
    "level_and_spread",
    "nan_median",
    "other_form_message",
    "periods_of_step",
    "plain_data",
    "shift_symbols",
    "shift_values",
    "time_index",
    "to_long",
]
