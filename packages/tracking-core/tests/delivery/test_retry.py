"""Which errors are tried again, over the types that libraries really raise."""

from __future__ import annotations

import email.message
import http.client
import socket
import sqlite3
import ssl
import urllib.error
from types import SimpleNamespace

import pytest

from tracking_core.delivery.retry import Backoff, may_pass


def http_error(code: int) -> urllib.error.HTTPError:
    return urllib.error.HTTPError("http://x", code, "no", email.message.Message(), None)


class ResponseError(Exception):
    """As requests and httpx have it."""

    def __init__(self, code: object) -> None:
        super().__init__(code)
        self.response = SimpleNamespace(status_code=code)


class RequestException(OSError):
    """Of requests: an OSError whatever the server said."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.response = SimpleNamespace(status_code=code)


class MlflowException(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self._code = code

    def get_http_status_code(self) -> int:
        return self._code


class ServiceUnavailable(Exception):
    pass


class Hostile(Exception):
    @property
    def response(self) -> object:
        raise RuntimeError("not now")


def caused(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


def hidden(error: Exception, context: BaseException) -> Exception:
    error.__context__ = context
    error.__suppress_context__ = True
    return error


PASSING = [
    ConnectionError(),
    ConnectionResetError(),
    BrokenPipeError(),
    TimeoutError(),
    socket.gaierror(-3, "Temporary failure in name resolution"),
    urllib.error.URLError("refused"),
    ssl.SSLError(),
    http.client.RemoteDisconnected(),
    http.client.IncompleteRead(b""),
    OSError(28, "No space left on device"),
    *(http_error(code) for code in (401, 402, 403, 407, 408, 425, 429, 500, 502, 503, 504)),
    *(ResponseError(code) for code in (408, 429, 500, 503)),
    *(RequestException(code) for code in (401, 429, 500)),
    *(MlflowException(code) for code in (429, 500, 503)),
    ServiceUnavailable(),
    sqlite3.OperationalError("database is locked"),
    sqlite3.OperationalError("database or disk is full"),
    caused(ValueError("wrapped"), ConnectionError()),
]
LASTING = [
    ValueError(),
    TypeError(),
    KeyError(),
    ImportError(),
    FileNotFoundError(2, "no such file"),
    IsADirectoryError(),
    NotADirectoryError(),
    ssl.SSLCertVerificationError(),
    *(http_error(code) for code in (400, 404, 409, 413, 422)),
    *(ResponseError(code) for code in (400, 404)),
    *(RequestException(code) for code in (404, 413)),
    *(MlflowException(code) for code in (400, 404)),
    ResponseError("500"),
    sqlite3.OperationalError("no such table: runs"),
    sqlite3.IntegrityError("UNIQUE constraint failed"),
    SystemExit(500),
    KeyboardInterrupt(),
    Hostile(),
    hidden(ValueError("from None"), ConnectionError()),
]


def said(error: BaseException) -> str:
    status = getattr(error, "code", "") or next(iter(error.args), "")
    return f"{type(error).__name__} {status}"


@pytest.mark.parametrize("error", PASSING, ids=said)
def test_what_may_be_gone_at_the_next_try(error: BaseException) -> None:
    assert may_pass(error)


@pytest.mark.parametrize("error", LASTING, ids=said)
def test_what_would_be_refused_again(error: BaseException) -> None:
    assert not may_pass(error)


def test_errors_that_are_each_other_s_cause() -> None:
    first, second = ValueError(), KeyError()
    first.__cause__, second.__cause__ = second, first
    assert not may_pass(first)


def test_waits_double_up_to_a_minute_and_never_less_than_half() -> None:
    longest = Backoff(random=lambda: 1.0)
    assert [longest.next() for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]
    shortest = Backoff(random=lambda: 0.0)
    assert [shortest.next() for _ in range(3)] == [0.25, 0.5, 1]
    for _ in range(2000):
        longest.next()  # days of an outage overflow nothing
    longest.reset()
    assert longest.next() == 0.5
