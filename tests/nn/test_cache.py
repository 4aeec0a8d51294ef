"""What is kept between calls, and for how long."""

import pickle

import pytest

from sks4.nn._cache import OperatorCache


def counted(value, calls):
    def build():
        calls.append(value)
        return value

    return build


def test_value_is_built_once_for_a_key_and_version():
    cache, calls = OperatorCache(), []
    for _ in range(3):
        assert cache.get("a", 1, counted("a1", calls)) == "a1"
        assert cache.get("b", 1, counted("b1", calls)) == "b1"
    assert calls == ["a1", "b1"]
    assert len(cache) == 2


def test_another_version_drops_everything():
    cache, calls = OperatorCache(), []
    for key in "ab":
        cache.get(key, 1, counted(key, calls))
    assert cache.get("a", 2, counted("a2", calls)) == "a2"
    assert len(cache) == 1
    assert cache.get("b", 2, counted("b2", calls)) == "b2"
    assert cache.get("a", 1, counted("back", calls)) == "back"  # old versions do not return


def test_result_of_a_version_that_has_passed_is_not_kept():
    cache, calls = OperatorCache(), []

    def build_while_the_version_changes():
        cache.get("other", 2, counted("new", calls))
        return "old"

    assert cache.get("key", 1, build_while_the_version_changes) == "old"
    assert cache.get("key", 2, counted("built", calls)) == "built"


def test_the_oldest_is_dropped_where_there_are_many():
    cache, calls = OperatorCache(), []
    for key in range(17):
        cache.get(key, 1, counted(key, calls))
    assert len(cache) == 16
    cache.get(16, 1, counted("again", calls))
    assert calls == list(range(17))
    cache.get(0, 1, counted("again", calls))
    assert calls[-1] == "again"


def test_error_keeps_nothing():
    cache = OperatorCache()
    with pytest.raises(ZeroDivisionError):
        cache.get("a", 1, lambda: 1 / 0)
    assert cache.get("a", 1, lambda: 5) == 5


def test_copies_are_empty():
    cache = OperatorCache()
    cache.get("a", 1, lambda: 5)
    assert len(pickle.loads(pickle.dumps(cache))) == 0
