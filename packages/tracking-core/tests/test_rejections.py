"""What could not be stored is counted each time and said once."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import warnings

import pytest

from tracking_core.rejections import (
    MOST_KEYS_SAID,
    Rejection,
    Rejections,
    say,
    speak_for,
    users_line,
)


def test_each_key_is_said_once_and_counted_always() -> None:
    rejections = Rejections("tracker 'x'")
    with pytest.warns(UserWarning) as said:
        for _ in range(5):
            rejections.add("a", "int", "too large")
        rejections.add("a", "str", "too long")
        rejections.add("b", "int", "too large")
    assert [str(warning.message) for warning in said] == [
        "tracker 'x' could not store 'a' (int): too large",
        "tracker 'x' could not store 'b' (int): too large",
    ]
    assert rejections.counts == {
        Rejection("a", "int", "too large"): 5,
        Rejection("a", "str", "too long"): 1,
        Rejection("b", "int", "too large"): 1,
    }


def test_what_was_changed_is_said_and_counted_apart() -> None:
    rejections = Rejections("log()")
    with pytest.warns(UserWarning) as said:
        for _ in range(3):
            rejections.changed("a", "Image", "it was stretched")
        rejections.add("a", "Image", "it is none")
        rejections.changed("b", "Image", "it was clipped")
    assert [str(warning.message) for warning in said] == [
        "log() took 'a' (Image), but it was stretched",
        "log() could not store 'a' (Image): it is none",
        "log() took 'b' (Image), but it was clipped",
    ]
    assert rejections.counts == {Rejection("a", "Image", "it is none"): 1}
    assert rejections.changes == {
        Rejection("a", "Image", "it was stretched"): 3,
        Rejection("b", "Image", "it was clipped"): 1,
    }


def test_endless_keys_do_not_warn_endlessly() -> None:
    rejections = Rejections("log()")
    with pytest.warns(UserWarning) as said:
        for number in range(3 * MOST_KEYS_SAID):
            rejections.add(f"key {number}", "int", "too large")
    assert len(said) == MOST_KEYS_SAID
    assert "no longer reported" in str(said[-1].message)
    assert len(rejections.counts) == 3 * MOST_KEYS_SAID


def test_a_warning_that_is_an_error_goes_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING, logger="tracking"):
        warnings.simplefilter("error")
        say("something")
    assert caplog.messages == ["something"]


CLOSED = """
import sys
from tracking_core import Tracking
from tracking_core.testing import MemoryTracker
memory = MemoryTracker()
tracking = Tracking(memory, delivery="inline")
tracking.init_trackers("p", config={"a": 1})
sys.stderr.close()
tracking.log({"loss": 1.0, "bad": object()})
tracking.end_training()
print(memory.values("loss"), memory.calls[-1])
"""


def test_a_stderr_that_is_closed_costs_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", CLOSED], stdout=subprocess.PIPE, text=True)
    assert (done.stdout, done.returncode) == ("[1.0] finish\n", 0)


def test_a_hook_for_warnings_that_raises_costs_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def raises(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        monkeypatch.setattr(warnings, "showwarning", raises)
        say("something")
    assert caplog.messages == ["something"]


def test_a_thread_speaks_for_the_line_that_began_the_run() -> None:
    place = users_line()

    def work() -> None:
        speak_for(place)
        say("something")

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        say("here")
    (of_thread, of_this) = said
    assert (of_thread.filename, of_thread.lineno) == (__file__, place.line)
    assert of_this.filename == __file__ and of_this.lineno > place.line


def test_what_a_library_said_is_told_without_its_secrets() -> None:
    rejections = Rejections("tracker 'x'")
    with pytest.warns(UserWarning, match=r"https://me:\*\*\*@host") as said:
        rejections.add("a", "int", "PUT https://me:canary@host?token=canary: 413")
    assert "canary" not in str(said[0].message) + str(rejections.counts)
