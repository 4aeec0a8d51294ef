"""What is shown of a training, on terminals, in files and in the log, with a clock of our own."""

import io
import logging
import os
import pickle
import re
import sys
from types import SimpleNamespace

import pytest
from skorch.callbacks import Callback
from tqdm import tqdm

from sks4.training import Budget, Progress, _progress, display_callbacks, has_bars, reading


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


class Clock:
    """Stands for the module `time`."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


class Takes(Callback):
    """Let each training batch take some seconds of a clock."""

    def __init__(self, clock, seconds):
        self.clock = clock
        self.seconds = seconds

    def on_batch_begin(self, net, training=None, **kwargs):
        self.clock.now += self.seconds if training else 0


class RaisesAt(Callback):
    """Raise at the beginning of an epoch."""

    def __init__(self, epoch, error):
        self.epoch = epoch
        self.error = error

    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) == self.epoch:
            raise self.error


class MarksBest(Callback):
    """Mark the loss of each epoch as the best one, as scoring callbacks of skorch do."""

    def on_epoch_end(self, net, **kwargs):
        net.history.record("train_loss_best", True)


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr(_progress, "time", Clock())
    return _progress.time


def put_stderr(monkeypatch, stream):
    """Let the display find a stream, which pytest would replace between fixture and test."""
    fake = SimpleNamespace(stderr=stream, stdout=sys.stdout, modules=sys.modules)
    monkeypatch.setattr(_progress, "sys", fake)
    return stream


@pytest.fixture
def terminal(monkeypatch):
    return put_stderr(monkeypatch, Terminal())


@pytest.fixture
def file(monkeypatch):
    return put_stderr(monkeypatch, io.StringIO())


@pytest.fixture
def notices(monkeypatch):
    """Return what is logged as a list of records, as if no notice had been given so far."""
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    monkeypatch.setattr(_progress.Notice, "is_given", False)
    logging.getLogger("sks4").addHandler(handler)
    yield records
    logging.getLogger("sks4").removeHandler(handler)


def callback_of(net):
    return dict(net.callbacks_)["progress"]


def assert_nothing_is_open(net):
    assert callback_of(net).display_ is None
    assert len(tqdm._instances) == 0


# ---------------------------------------------------------------- bars


def test_bar_shows_epochs_losses_score_and_time_left(make_net, make_batches, terminal):
    net = make_net(callbacks=display_callbacks(1, "S4Regressor"))
    net.fit(make_batches(), valid=make_batches(seed=1))
    shown = terminal.getvalue()
    for part in ("epoch 3/3", "100%", "loss=", "valid=", "score=", "<00:00"):
        assert part in shown
    assert f"loss={net.history[-1]['train_loss']:.4g}, valid=" in shown
    assert_nothing_is_open(net)


def test_bar_is_drawn_at_most_ten_times_a_second(make_net, make_batches, terminal, clock):
    callbacks = [Takes(clock, 0.04), *display_callbacks(1)]
    make_net(max_epochs=25, callbacks=callbacks).fit(make_batches())  # 75 batches in 3 seconds
    assert 20 < terminal.getvalue().count("\r") < 32


@pytest.mark.parametrize("error", [KeyboardInterrupt("by a callback"), ValueError("by a callback")])
def test_bar_is_closed_where_training_is_cut_off(make_net, make_batches, terminal, error):
    net = make_net(callbacks=[RaisesAt(2, error), *display_callbacks(1)])
    with pytest.raises(type(error), match="by a callback"):
        net.fit(make_batches())
    assert "100%" not in terminal.getvalue()
    assert terminal.getvalue().endswith("\n")
    assert_nothing_is_open(net)


def test_bar_is_full_when_training_stops_early(make_net, make_batches, terminal):
    class Stops(Callback):
        def on_epoch_end(self, net, **kwargs):
            net.stop_training("early_stopping")

    make_net(callbacks=[Stops(), *display_callbacks(1)]).fit(make_batches())
    assert "epoch 1/3 100%" in terminal.getvalue()


def test_bar_counts_epochs_of_resumed_training_on(make_net, make_batches, terminal):
    net = make_net(callbacks=display_callbacks(1), warm_start=True)
    net.fit(make_batches()).fit(make_batches())
    assert "epoch 6/6" in terminal.getvalue()


def test_bar_names_the_stage(make_net, make_batches, terminal):
    make_net(callbacks=[Progress(1, stage="trial ")]).fit(make_batches())
    assert "\rtrial epoch 3/3 100%" in terminal.getvalue()


def test_bar_is_shown_by_a_terminal_that_reports_no_size():
    reader, writer = os.openpty()
    with open(writer, "w") as stream, open(reader, "rb") as shown:
        assert os.get_terminal_size(writer) == (0, 0)
        assert has_bars(stream)
        bar = _progress.Bar(stream)
        bar.update(0.5, lambda: "epoch 1/2, loss=0.5")
        bar.close()
        text = ""
        while "\n" not in text:
            text += os.read(shown.fileno(), 10_000).decode()
    assert "epoch 1/2  50%|" in text
    assert max(map(len, re.split(r"[\r\n]+", text))) < 80


def test_only_terminals_and_notebooks_have_bars(monkeypatch):
    assert has_bars(Terminal())
    assert not has_bars(io.StringIO())
    assert not has_bars(None)
    assert not has_bars(SimpleNamespace(write=print))  # the least that print needs
    monkeypatch.setitem(sys.modules, "ipykernel", io)  # a kernel without widgets
    assert not has_bars(io.StringIO())
    widget = type("tqdm_notebook", (tqdm,), {"__module__": "tqdm.notebook"})
    monkeypatch.setattr(_progress, "_auto_tqdm", lambda: type("auto", (widget,), {}))
    assert has_bars(io.StringIO())


def test_worker_processes_write_lines_to_a_terminal(make_net, make_batches, terminal, monkeypatch):
    monkeypatch.setattr(_progress, "is_in_worker_process", lambda: True)
    monkeypatch.setattr(_progress, "_SECONDS_BETWEEN_LINES", 0.0)
    make_net(callbacks=display_callbacks(1)).fit(make_batches())
    assert "fit: epoch 1/3" in terminal.getvalue()
    assert "\r" not in terminal.getvalue()


# ---------------------------------------------------------------- lines


def test_file_gets_a_plain_line_every_ten_seconds(make_net, make_batches, file, clock):
    callbacks = [Takes(clock, 1.0), *display_callbacks(1, "S4Regressor")]
    net = make_net(max_epochs=12, callbacks=callbacks)  # 36 batches
    net.fit(make_batches(), valid=make_batches(seed=1))
    lines = file.getvalue().splitlines()
    assert len(lines) == 4
    losses = [f"loss={row['train_loss']:.4g}, valid={row['valid_loss']:.4g}" for row in net.history]
    assert lines[0].startswith(f"S4Regressor: epoch 4/12, {losses[2]}, score=")
    assert lines[0].endswith(", elapsed 00:10, left 00:26")
    assert lines[2].endswith(", elapsed 00:30, left 00:06")
    assert lines[3].startswith(f"S4Regressor: epoch 12/12, {losses[-1]}")
    assert lines[3].endswith(", finished after 00:36")
    assert not re.search("[\r\x1b]", file.getvalue())


def test_first_epoch_has_the_values_so_far(make_net, make_batches, file, clock):
    make_net(callbacks=[Takes(clock, 11.0), *display_callbacks(1)]).fit(make_batches(4 * 5))
    first = file.getvalue().splitlines()[0]
    assert re.fullmatch(
        r"fit: epoch 1/3, loss=[\d.]+, score=-?[\d.]+, elapsed 00:11, left 02:34", first
    )


def test_short_training_writes_nothing_to_a_file(make_net, make_batches, capfd):
    make_net(callbacks=display_callbacks(1)).fit(make_batches())
    assert capfd.readouterr() == ("", "")


def test_training_cut_off_does_not_write_that_it_has_finished(make_net, make_batches, file, clock):
    callbacks = [Takes(clock, 11.0), RaisesAt(3, KeyboardInterrupt()), *display_callbacks(1)]
    with pytest.raises(KeyboardInterrupt):
        make_net(callbacks=callbacks).fit(make_batches())
    assert "epoch 2/3" in file.getvalue()
    assert "finished" not in file.getvalue()


def test_stream_that_is_gone_does_not_end_training(make_net, make_batches, file, clock):
    file.close()
    net = make_net(callbacks=[Takes(clock, 11.0), *display_callbacks(1)]).fit(make_batches())
    assert len(net.history) == 3


def test_program_without_a_console_trains(make_net, make_batches, monkeypatch):
    put_stderr(monkeypatch, None)
    net = make_net(callbacks=display_callbacks(1)).fit(make_batches())
    assert len(net.history) == 3


# ---------------------------------------------------------------- verbosity


@pytest.mark.parametrize(("verbose", "n_lines"), [(0, 0), (1, 0), (2, 5)])
def test_display_prints_by_verbosity(make_net, make_batches, capsys, verbose, n_lines):
    make_net(callbacks=display_callbacks(verbose)).fit(make_batches())
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == n_lines  # two lines of heading, one for each epoch
    assert err == ""


def test_long_epochs_have_lines_of_their_own_with_verbosity_2(
    make_net, make_batches, capsys, clock
):
    make_net(callbacks=[Takes(clock, 4.0), *display_callbacks(2)]).fit(make_batches())
    out, err = capsys.readouterr()
    assert "fit: epoch 1/3, loss=" in out
    assert err == ""


def test_table_has_colors_on_terminals_only(make_net, make_batches, monkeypatch):
    def printed(stream):
        monkeypatch.setattr("sys.stdout", stream)
        make_net(callbacks=[MarksBest(), *display_callbacks(2)]).fit(make_batches())
        return stream.getvalue()

    assert "\x1b[" in printed(Terminal())
    plain = printed(io.StringIO())
    assert "\x1b" not in plain
    assert "train_loss" in plain


def test_display_refuses_unknown_verbosity():
    with pytest.raises(ValueError, match="verbose must be one of 0, 1, 2, got 7"):
        display_callbacks(7)


@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_display_changes_no_result(make_net, make_batches, verbose, capsys):
    plain = make_net(callbacks=[]).fit(make_batches(), valid=make_batches(seed=1))
    shown = make_net(callbacks=display_callbacks(verbose))
    shown.fit(make_batches(), valid=make_batches(seed=1))
    for column in ("train_loss", "valid_loss"):
        assert shown.history[:, column] == plain.history[:, column]
    assert shown.history[-1].keys() == plain.history[-1].keys()


def test_nothing_shown_stays_in_a_pickle(make_net, make_batches, terminal):
    net = make_net(callbacks=display_callbacks(1)).fit(make_batches())
    before = len(pickle.dumps(net))
    assert len(pickle.dumps(net.fit(make_batches(40)))) == pytest.approx(before, rel=0.2)
    pickle.loads(pickle.dumps(net))


# ---------------------------------------------------------------- notice


def fit_for(make_net, make_batches, clock, seconds, **options):
    """Train for 30 steps of some seconds each."""
    callbacks = [Takes(clock, seconds), *display_callbacks(0)]
    return make_net(max_epochs=10, callbacks=callbacks, **options).fit(make_batches())


def test_long_fit_is_announced_once_in_a_process(make_net, make_batches, clock, notices):
    for _ in range(2):
        fit_for(make_net, make_batches, clock, 10.0)
    assert [record.levelname for record in notices] == ["WARNING"]
    message = notices[0].getMessage()
    assert "up to 5 min" in message
    for advice in ("verbose=1", "max_time", "patch_size"):
        assert advice in message


def test_long_fit_is_announced_after_the_first_measured_steps(
    make_net, make_batches, clock, notices
):
    class Looks(Callback):
        def on_batch_end(self, net, **kwargs):
            seen.append(len(notices))

    seen = []
    callbacks = [Takes(clock, 1.4), *display_callbacks(0), Looks()]
    make_net(max_epochs=10, callbacks=callbacks).fit(make_batches())
    assert seen[:5] == [0, 0, 0, 1, 1]  # the first step is not measured, three that follow are


@pytest.mark.parametrize(("seconds", "n_notices"), [(0.6, 0), (0.75, 1)])
def test_only_fits_of_more_than_20_seconds_are_announced(
    make_net, make_batches, clock, notices, seconds, n_notices
):
    fit_for(make_net, make_batches, clock, seconds)
    assert len(notices) == n_notices


def test_slow_first_step_is_not_taken_for_all(make_net, make_batches, clock, notices):
    class Prepares(Callback):
        def on_train_begin(self, net, **kwargs):
            self.seconds = 5.0

        def on_batch_begin(self, net, **kwargs):
            clock.now += self.seconds
            self.seconds = 0.4

    callbacks = [Prepares(), *display_callbacks(0)]
    make_net(max_epochs=10, callbacks=callbacks).fit(make_batches())  # 17 seconds
    assert notices == []


def test_single_step_that_is_slow_is_not_taken_for_all(make_net, make_batches, clock, notices):
    class Stalls(Callback):
        def on_batch_begin(self, net, **kwargs):
            is_third = len(net.history) == 1 and len(net.history[-1]["batches"]) == 3
            clock.now += 10.0 if is_third else 0.1

    callbacks = [Stalls(), *display_callbacks(0)]
    make_net(max_epochs=30, callbacks=callbacks).fit(make_batches())  # 19 seconds
    assert notices == []


def test_first_step_that_is_long_itself_is_announced(make_net, make_batches, clock, notices):
    callbacks = [Takes(clock, 30.0), *display_callbacks(0)]
    make_net(max_epochs=2, callbacks=callbacks).fit(make_batches(4))
    assert "60 s" in notices[0].getMessage()


def test_time_limit_counts_in_the_expected_time(
    make_net, make_batches, clock, notices, monkeypatch
):
    monkeypatch.setitem(Budget.__init__.__kwdefaults__, "clock", clock.monotonic)
    fit_for(make_net, make_batches, clock, 1.0, max_time=10.0)
    assert notices == []


@pytest.mark.parametrize("verbose", [1, 2])
def test_no_fit_is_announced_that_shows_its_progress(
    make_net, make_batches, clock, notices, capsys, verbose
):
    make_net(callbacks=[Takes(clock, 60.0), *display_callbacks(verbose)]).fit(make_batches())
    assert notices == []


def test_fits_of_searches_are_not_announced_and_do_not_count(
    make_net, make_batches, clock, notices, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(_progress, "is_one_of_many", lambda: True)
        fit_for(make_net, make_batches, clock, 10.0)
    assert notices == []
    fit_for(make_net, make_batches, clock, 10.0)
    assert len(notices) == 1


@pytest.mark.parametrize(
    ("seconds", "words"), [(24.4, "24 s"), (89.0, "89 s"), (119.0, "2 min"), (9000.0, "2.5 h")]
)
def test_times_are_in_words(seconds, words):
    assert _progress._in_words(seconds) == words


# ---------------------------------------------------------------- reading


def read(net, clock, seconds, n_rows=100):
    """Read rows in ten batches, each of some seconds."""
    with reading(net, n_rows) as advance:
        for _ in range(10):
            clock.now += seconds
            advance(n_rows // 10)


def test_reading_writes_lines(make_net, file, clock):
    read(make_net(callbacks=display_callbacks(1, "S4Classifier")).initialize(), clock, 7.0)
    lines = file.getvalue().splitlines()
    assert lines[0] == "S4Classifier: readout, 20/100 sequences, elapsed 00:14, left 00:56"
    assert lines[-1] == "S4Classifier: readout, 100/100 sequences, finished after 01:10"


def test_reading_shows_a_bar(make_net, terminal, clock):
    read(make_net(callbacks=display_callbacks(1, "S4Classifier")).initialize(), clock, 7.0)
    assert "\rreadout 100%|" in terminal.getvalue()
    assert len(tqdm._instances) == 0


def test_long_reading_is_announced(make_net, clock, notices):
    read(make_net(callbacks=display_callbacks(0)).initialize(), clock, 1.5)
    assert notices == []
    read(make_net(callbacks=display_callbacks(0)).initialize(), clock, 30.0)
    assert "5 min" in notices[0].getMessage()


def test_reading_that_fails_leaves_no_bar(make_net, terminal):
    net = make_net(callbacks=display_callbacks(1)).initialize()

    def fail():
        with reading(net, 10) as advance:
            advance(5)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert len(tqdm._instances) == 0
    assert "100%" not in terminal.getvalue()


def test_more_rows_than_expected_are_all(make_net, terminal, clock):
    with reading(make_net(callbacks=[Progress(1)]).initialize(), 10) as advance:
        advance(25)
    assert "10/10 sequences" in terminal.getvalue()


def test_net_without_a_display_reads_in_silence(make_net, terminal, clock):
    read(make_net().initialize(), clock, 30.0)
    assert terminal.getvalue() == ""
