"""Whose fault an error is, over the types that libraries really raise."""

from __future__ import annotations

import email.message
import errno
import http.client
import json
import socket
import sqlite3
import ssl
import urllib.error
from types import SimpleNamespace

import pytest

from tracking_core.errors import TrackingError, UnfitValueError
from tracking_core.faults import Fault, fault_of, fault_of_start, status_of
from tracking_core.testing import MemoryTracker


def http_error(code: int, kind: str = "application/json") -> urllib.error.HTTPError:
    headers = email.message.Message()
    headers["Content-Type"] = kind
    return urllib.error.HTTPError("http://x", code, "no", headers, None)


class ResponseError(Exception):
    """As requests and httpx have it."""

    def __init__(self, code: object) -> None:
        super().__init__(code)
        self.response = SimpleNamespace(status_code=code)


class RequestException(OSError):
    """Of requests: an OSError whatever the server said."""

    def __init__(self, code: int, kind: str = "application/json") -> None:
        super().__init__(code)
        headers = {"Content-Type": kind}
        self.response = SimpleNamespace(status_code=code, headers=headers)


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


def no_json() -> Exception:
    try:
        json.loads("<html>Please log in</html>")
    except json.JSONDecodeError as error:
        return error
    raise AssertionError("it is no JSON")


PAGE = "text/html; charset=utf-8"
FAULTS: dict[Fault, list[BaseException]] = {
    "server": [
        ConnectionError(),
        ConnectionResetError(),
        BrokenPipeError(),
        TimeoutError(),
        socket.gaierror(-3, "Temporary failure in name resolution"),
        urllib.error.URLError("refused"),
        ssl.SSLError(),
        http.client.RemoteDisconnected(),
        http.client.IncompleteRead(b""),
        OSError(errno.ENOSPC, "No space left on device"),
        *(http_error(code) for code in (302, 408, 425, 429, 500, 502, 503, 504)),
        *(ResponseError(code) for code in (408, 429, 500, 503)),
        *(RequestException(code) for code in (429, 500)),
        *(MlflowException(code) for code in (429, 500, 503)),
        *(http_error(code, PAGE) for code in (200, 400, 403, 404, 405, 503)),
        RequestException(404, PAGE),
        no_json(),
        caused(ValueError("no answer"), no_json()),
        ServiceUnavailable(),
        sqlite3.OperationalError("database is locked"),
        sqlite3.OperationalError("database or disk is full"),
        caused(ValueError("wrapped"), ConnectionError()),
    ],
    "login": [
        *(http_error(code) for code in (401, 402, 403, 407)),
        RequestException(401),
        http_error(401, PAGE),
    ],
    "setup": [
        ssl.SSLCertVerificationError(),
        ConnectionError(ConnectionError("pool", ssl.SSLCertVerificationError("self-signed"))),
        urllib.error.URLError(ssl.SSLCertVerificationError("self-signed")),
        caused(ConnectionError("no server"), ssl.SSLCertVerificationError("self-signed")),
        PermissionError(errno.EACCES, "Permission denied"),
        OSError(errno.EROFS, "Read-only file system"),
        ImportError(),
        caused(RuntimeError("not started"), ModuleNotFoundError()),
    ],
    "record": [
        *(http_error(code) for code in (400, 413, 422)),
        *(ResponseError(code) for code in (400,)),
        RequestException(413),
        *(http_error(code, PAGE) for code in (413, 414, 431)),
        MlflowException(400),
        UnfitValueError("too long"),
    ],
    "run": [
        ValueError(),
        TypeError(),
        KeyError(),
        RuntimeError("the run has ended"),
        FileNotFoundError(2, "no such file"),
        IsADirectoryError(),
        NotADirectoryError(),
        *(http_error(code) for code in (404, 405, 409, 410, 501)),
        ResponseError(404),
        MlflowException(404),
        ResponseError("500"),
        sqlite3.OperationalError("no such table: runs"),
        sqlite3.IntegrityError("UNIQUE constraint failed"),
        SystemExit(500),
        KeyboardInterrupt(),
        Hostile(),
        hidden(ValueError("from None"), ConnectionError()),
    ],
}
CASES = [(error, fault) for fault, errors in FAULTS.items() for error in errors]


def said(value: object) -> str:
    if not isinstance(value, BaseException):
        return str(value)
    status = getattr(value, "code", "") or next(iter(value.args), "")
    return f"{type(value).__name__} {status}"


@pytest.mark.parametrize(("error", "fault"), CASES, ids=said)
def test_whose_fault_it_is(error: BaseException, fault: Fault) -> None:
    assert fault_of(error) == fault


def test_errors_that_are_each_other_s_cause() -> None:
    first, second = ValueError(), KeyError()
    first.__cause__, second.__cause__ = second, first
    assert fault_of(first) == "run"


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (TypeError("unexpected keyword argument 'projct'"), "setup"),
        (ValueError("mode must be online or offline"), "setup"),
        (NotADirectoryError(), "setup"),
        (http_error(400), "setup"),
        (http_error(404), "run"),
        (http_error(401), "login"),
        (ConnectionError(), "server"),
        (RuntimeError(), "run"),
    ],
    ids=said,
)
def test_before_there_is_a_record_none_is_to_blame(error: Exception, fault: Fault) -> None:
    assert fault_of_start(fault_of(error), error) == fault


def test_an_error_of_this_project_says_itself_whose_fault_it_is() -> None:
    class KeyRefusedError(TrackingError, PermissionError):
        fault: Fault = "login"

    class BrokenError(TrackingError, ConnectionError):
        """Says nothing: its class decides."""

    tracker = MemoryTracker()
    assert tracker.fault(KeyRefusedError()) == "login"
    assert tracker.fault(BrokenError()) == "server"
    wrapped = RuntimeError()
    wrapped.__cause__ = KeyRefusedError()
    assert tracker.fault(wrapped) == fault_of(wrapped) == "server", "it is an OSError, like others"


@pytest.mark.parametrize(("code", "status"), [(404, 404), ("404", None), (None, None)])
def test_the_status_of_an_answer(code: object, status: int | None) -> None:
    assert status_of(ResponseError(code)) == status
    assert status_of(ValueError()) is None
