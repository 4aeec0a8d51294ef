"""The history of a training: one line as text, a list of dicts in use."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest

from sks4.training import TrainingHistory


@pytest.fixture
def history(make_net, make_batches):
    net = make_net(max_epochs=30).fit(make_batches(), valid=make_batches(seed=1))
    return net.history


def test_text_is_one_short_line_with_first_and_last_losses(history):
    losses = history[:, "train_loss"]
    text = repr(history)
    assert text.startswith("<TrainingHistory of 30 epochs: ")
    assert f"train_loss {losses[0]:.4g} to {losses[-1]:.4g}" in text
    assert f"valid_loss {history[0, 'valid_loss']:.4g} to " in text
    assert "\n" not in text
    assert len(text) < 120
    assert str(history) == text


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ([], "<TrainingHistory of 0 epochs>"),
        ([{"batches": []}], "<TrainingHistory of 1 epoch>"),
        ([{"train_loss": 0.5, "dur": 1.0}], "<TrainingHistory of 1 epoch: train_loss 0.5>"),
        (
            [{"train_loss": 0.5}, {"train_loss": np.float32(1e-9), "valid_acc": 1}],
            "<TrainingHistory of 2 epochs: train_loss 0.5 to 1e-09, valid_acc 1>",
        ),
        ([{"note_loss": "none"}], "<TrainingHistory of 1 epoch>"),
    ],
)
def test_text_has_what_was_recorded(rows, text):
    assert repr(TrainingHistory(rows)) == text


def test_history_is_a_list_of_dicts_in_use(history):
    assert isinstance(history, list)
    assert len(history) == 30
    assert history[-1]["epoch"] == 30
    assert history[0, "batches", :, "train_batch_size"] == [4, 4, 4]
    assert [row["epoch"] for row in history[:2]] == [1, 2]
    assert history == history.to_list()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda h: pickle.loads(pickle.dumps(h))])
def test_copies_and_pickles_are_equal(history, copied):
    other = copied(history)
    assert type(other) is TrainingHistory
    assert other == history
    assert other is not history


def test_frame_has_a_row_for_each_epoch(history):
    frame = history.to_frame()
    assert frame.index.name == "epoch"
    assert frame.index.tolist() == list(range(1, 31))
    np.testing.assert_array_equal(frame["train_loss"], history[:, "train_loss"])
    assert not {"batches", "epoch"} & set(frame.columns)


def test_frame_has_nan_where_an_epoch_has_no_value():
    frame = TrainingHistory([{"epoch": 1, "a": 0.5}, {"epoch": 2, "a": 0.25, "b": 1.0}]).to_frame()
    expected = pd.DataFrame(
        {"a": [0.5, 0.25], "b": [np.nan, 1.0]}, index=pd.Index([1, 2], name="epoch")
    )
    pd.testing.assert_frame_equal(frame, expected)
    assert TrainingHistory().to_frame().empty
