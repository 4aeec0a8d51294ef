import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from sks4.data import Timeline

INDEXES = {
    "hours": pd.date_range("2024-01-01", periods=9, freq="h"),
    "weeks": pd.date_range("2024-01-06", periods=9, freq="W-SAT"),
    "month ends": pd.date_range("2024-01-31", periods=9, freq="ME"),
    "business days": pd.bdate_range("2024-01-04", periods=9),
    "every 90 minutes": pd.date_range("2024-01-01", periods=9, freq="90min"),
    "days over a change of clocks": pd.date_range(
        "2024-03-26", periods=9, freq="D", tz="Europe/Berlin"
    ),
    "hours over a change of clocks": pd.date_range(
        "2024-10-26 20:00", periods=9, freq="h", tz="Europe/Berlin"
    ),
    "quarters": pd.period_range("2024Q1", periods=9, freq="Q"),
    "pairs of months": pd.period_range("2024-01", periods=9, freq="2M"),
    "integers": pd.RangeIndex(100, 109),
    "tens": pd.Index(np.arange(50, 140, 10)),
}


@pytest.fixture(params=INDEXES, ids=str)
def index(request):
    return INDEXES[request.param]


def stamps(index):
    """Return dates without a frequency."""
    return pd.DatetimeIndex(index.to_list())


def without_frequency(index):
    """Return the labels as they come out of a file, without a frequency."""
    return pd.DatetimeIndex(index.tolist()) if isinstance(index, pd.DatetimeIndex) else index


def test_rows_follow_in_the_steps_of_the_index(index):
    timeline = Timeline(without_frequency(index[:5]), 5)
    assert timeline.following(4).equals(index[5:])
    assert timeline.extended(4).labels().equals(index)
    assert timeline.head(3).following(6).equals(index[3:])


def test_positions_are_counted_from_the_first_row(index):
    timeline = Timeline(without_frequency(index[:4]), 4)
    assert_array_equal(timeline.positions(without_frequency(index)), np.arange(9))
    assert_array_equal(timeline.positions(index[2:3]), [2])
    assert_array_equal(timeline.positions(index[6:]), [6, 7, 8])


def test_distant_rows_are_found():
    timeline = Timeline(INDEXES["month ends"], 9)
    assert timeline.positions(pd.DatetimeIndex(["2124-01-31"])).tolist() == [1200]


def test_hole_is_refused(index):
    with pytest.raises(ValueError, match=r"must have no hole and be in order, got .* right after"):
        Timeline(index[:4], 4).positions(index[[2, 3, 5]])


def test_label_off_the_grid_is_refused():
    timeline = Timeline(INDEXES["hours"], 9)
    with pytest.raises(ValueError, match="in steps of h, got 2024-01-01 03:30"):
        timeline.positions(pd.DatetimeIndex(["2024-01-01 03:30"]))
    with pytest.raises(ValueError, match=r"from 2024-01-01 00:00:00 on .* got 2023-12-31"):
        timeline.positions(pd.DatetimeIndex(["2023-12-31"]))
    with pytest.raises(ValueError, match="in steps of 10, got 55"):
        Timeline(INDEXES["tens"], 9).positions(pd.Index([55]))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (pd.Index([3, 4]), "DatetimeIndex, got labels of type int64"),
        (pd.Index([0.5]), "DatetimeIndex, got labels of type float64"),
        (pd.date_range("2024-01-01", periods=2, tz="UTC"), "time zone .* got UTC"),
        (
            pd.period_range("2024-01-01", periods=2, freq="D"),
            "hold one date at the steps of fit, h",
        ),
        (pd.Index(["2024-01-01"]), r"got labels of type .* with pd\.to_datetime"),
        (pd.MultiIndex.from_tuples([("a", 1)]), "got MultiIndex"),
    ],
)
def test_other_kind_of_labels_is_refused(labels, message):
    with pytest.raises(TypeError, match=message):
        Timeline(INDEXES["hours"], 9).positions(labels)


def test_other_periods_are_refused():
    with pytest.raises(TypeError, match="must be those of fit, Q-DEC, got M"):
        Timeline(INDEXES["quarters"], 9).positions(pd.period_range("2025-01", periods=1, freq="M"))


def test_labels_are_refused_where_there_were_none():
    with pytest.raises(ValueError, match=r"must come without an index, .* since fit had none"):
        Timeline(None, 9).positions(pd.RangeIndex(9, 12))


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (pd.Index(list("abc")), TypeError, "must be a DatetimeIndex, a PeriodIndex or an index of"),
        (pd.Index([0.0, 1.0]), TypeError, "got labels of type float64"),
        (pd.MultiIndex.from_product([[0], [1, 2]]), TypeError, "got MultiIndex"),
        (pd.Index([0, 1, 1]), ValueError, "every time once, got 1 twice"),
        (pd.Index([2, 1, 0]), ValueError, "must be sorted by time, got 2 ... 0"),
        (pd.Index([0, 1, 3]), ValueError, "equal steps, got 1 and then 3"),
        (INDEXES["hours"][[0, 1, 2, 4, 5]], ValueError, "got 2024-01-01 02:00:00 and then 2024-01"),
        (INDEXES["quarters"][[0, 1, 3]], ValueError, "equal steps, got 2024Q2 and then 2024Q4"),
        (pd.DatetimeIndex(["2024-01-01", None]), ValueError, "no missing label"),
    ],
)
def test_irregular_labels_are_refused(labels, error, message):
    with pytest.raises(error, match=message):
        Timeline(labels, len(labels))


def test_integers_beyond_64_bits_are_refused():
    with pytest.raises(TypeError, match=r"must be a DatetimeIndex, .* got labels of type uint64"):
        Timeline(pd.Index(np.arange(2**63, 2**63 + 5, dtype=np.uint64)), 5)


@pytest.mark.parametrize("index", ["hours", "quarters", "integers"])
def test_rows_too_far_ahead_are_refused(index):
    timeline = Timeline(INDEXES[index], 9)
    far = timeline.following(1_100_000)[-1:]
    with pytest.raises(ValueError, match="X must be of rows at most 1000000 steps ahead"):
        timeline.positions(far)


def test_rows_of_another_time_must_have_the_same_steps():
    timeline = Timeline(INDEXES["hours"], 9)
    hours = pd.date_range("2030-05-05", periods=5, freq="h")
    assert timeline.elsewhere(hours, 5).following(1)[0] == pd.Timestamp("2030-05-05 05:00")
    with pytest.raises(ValueError, match=r"steps of fit, h, got 2030-05-05 .* and then 2030-05-06"):
        timeline.elsewhere(pd.date_range("2030-05-05", periods=5), 5)


# --- clocks --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "zone"),
    [
        ("2024-03-28 02:30", "Europe/Berlin"),  # 02:30 does not exist on 31 March
        ("2024-10-24 02:30", "Europe/Berlin"),  # and occurs twice on 27 October
        ("2017-10-12", "America/Sao_Paulo"),  # midnight does not exist on 15 October
        ("2024-11-01 01:30", "America/New_York"),
    ],
)
def test_clocks_that_change_are_no_error(start, zone):
    days = pd.date_range(start, periods=2, freq="D").tz_localize(zone)
    timeline = Timeline(days, 2)
    for _ in range(6):
        following = timeline.following(3)
        days = pd.date_range(timeline.labels()[-1].date(), periods=4)[1:]
        assert following.tz_localize(None).normalize().equals(days.as_unit(following.unit))
        assert_array_equal(timeline.positions(following), len(timeline) + np.arange(3))
        timeline = timeline.extended(1)
    clock = pd.Timestamp(start).time()
    assert timeline.following(1)[0].time() == clock  # as before the change
    assert len(timeline.labels()) == 8


def test_hours_of_a_zone_are_those_that_pass():
    hours = pd.date_range("2024-10-26 22:00", periods=4, freq="h", tz="Europe/Berlin")
    following = Timeline(stamps(hours), 4).following(3)
    assert following.strftime("%H %z").tolist() == ["02 +0200", "02 +0100", "03 +0100"]


def test_local_times_that_occur_twice_say_what_to_do():
    hours = pd.date_range("2024-10-26 22:00", periods=9, freq="h", tz="Europe/Berlin")
    with pytest.raises(ValueError, match=r"every time once.*time zone \(tz_localize\)"):
        Timeline(hours.tz_localize(None), 9)


def test_names_survive():
    for index in (INDEXES["weeks"], INDEXES["quarters"], INDEXES["tens"]):
        timeline = Timeline(index.rename("when"), 9)
        assert timeline.following(2).name == "when"
        assert timeline.extended(2).labels().name == "when"
        assert timeline.head(4).following(2).name == "when"


def test_extending_does_not_depend_on_the_rows_before(monkeypatch):
    timeline = Timeline(pd.bdate_range("1990-01-01", periods=5000), 5000)
    generated = []
    date_range = pd.date_range
    monkeypatch.setattr(
        pd, "date_range", lambda *a, **k: generated.append(k.get("periods")) or date_range(*a, **k)
    )
    for _ in range(20):
        start = len(timeline)
        assert_array_equal(timeline.positions(timeline.following(2)), [start, start + 1])
        timeline = timeline.extended(2)
    assert max(n or 0 for n in generated) < 10


@pytest.mark.parametrize("unit", ["ns", "s"])
def test_many_irregular_dates_are_refused_and_no_calendar_is_tried_without_end(unit):
    seconds = pd.date_range("2024-01-01", periods=20_000, freq="s").as_unit(unit)
    with pytest.raises(ValueError, match="must have equal steps, got 2024-01-01 02:46:39 and then"):
        Timeline(seconds.delete(10_000), 19_999)


@pytest.mark.parametrize("freq", ["D", "B", "h"])
def test_dates_beyond_the_range_of_their_unit_say_so(freq):
    timeline = Timeline(pd.date_range("2262-01-01", periods=5, freq=freq).as_unit("ns"), 5)
    with pytest.raises(ValueError, match=r"within the range of the dates in fit.*as_unit"):
        timeline.following(10_000)
    with pytest.raises(ValueError, match=r"within the range|must continue that of fit"):
        timeline.positions(pd.DatetimeIndex(np.array(["9000-01-01"], "M8[s]")))
