"""What a long loop tells."""

import logging

import pytest

from descbench import progress as module
from descbench.progress import duration, progress


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.6, "1 min 0 s"), (185, "3 min 5 s"), (3600, "1 h 0 min"), (9660, "2 h 41 min")],
)
def test_durations_are_read_easily(seconds, text):
    assert duration(seconds) == text


def test_a_log_hears_how_many_are_done_and_how_long_the_rest_takes(monkeypatch, caplog):
    clock = iter(range(0, 1000, 20))
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(clock)))
    with caplog.at_level(logging.INFO):
        assert list(progress(range(3), 9, "epoch 2 of 5", done=6, unit="steps")) == [0, 1, 2]
    # The clock gains 20 s an item, and a line a minute is enough: after two items, one is left.
    assert caplog.messages == ["epoch 2 of 5: 8 of 9 steps, 30 s left"]


def test_a_terminal_shows_a_bar(monkeypatch, capfd):
    monkeypatch.setattr(module.sys.stderr, "isatty", lambda: True, raising=False)
    assert list(progress("abc", 3, "images of town", unit="images")) == ["a", "b", "c"]
    assert "images of town: 100%" in capfd.readouterr().err
