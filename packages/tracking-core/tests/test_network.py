"""What a person has to mend so that a server is reached, read off errors as libraries raise them."""

from __future__ import annotations

import socket
import ssl
import urllib.error
from email.message import Message

import pytest

from tracking_core.network import causes, proxy_for, reason_of, remedy_of, retry_after_of


class MaxRetryError(Exception):
    """Of urllib3."""

    def __init__(self, reason: Exception) -> None:
        super().__init__("too many retries")
        self.reason = reason


class ProxyError(ConnectionError):
    """Of requests and httpx."""


class InvalidURL(ValueError):
    """Of requests and httpx."""


class Hostile(Exception):
    @property
    def reason(self) -> object:
        raise RuntimeError("not now")


def no_tls() -> ssl.SSLError:
    error = ssl.SSLError(1, "wrong version number")
    error.reason = "WRONG_VERSION_NUMBER"
    return error


UNTRUSTED = ssl.SSLCertVerificationError("self-signed")
NO_HOST = socket.gaierror(socket.EAI_NONAME, "Name or service not known")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (UNTRUSTED, "not trusted: let SSL_CERT_FILE name"),
        (ConnectionError(MaxRetryError(UNTRUSTED)), "not trusted"),
        (urllib.error.URLError(UNTRUSTED), "not trusted"),
        (ConnectionError(MaxRetryError(no_tls())), "speaks no TLS: URL has to begin with http://"),
        (ConnectionError(MaxRetryError(NO_HOST)), "no such host: see to URL"),
        (ProxyError("407"), "the proxy does not let it through: see to HTTPS_PROXY"),
        (InvalidURL("http://a..b"), "URL is no address"),
    ],
)
def test_what_a_person_can_mend_has_a_remedy(error: Exception, said: str) -> None:
    found = remedy_of(error, "URL")
    assert found is not None
    assert said in found


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(111, "refused"),
        TimeoutError(),
        ssl.SSLError(1, "unexpected eof"),
        socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
        Hostile(),
    ],
)
def test_what_may_pass_has_none(error: Exception) -> None:
    assert remedy_of(ConnectionError(MaxRetryError(error)), "URL") is None


def test_that_the_vendors_own_host_is_not_found_is_an_outage() -> None:
    assert remedy_of(NO_HOST, "URL", chosen=False) is None


def test_a_proxy_that_refuses_the_connection_is_the_users_to_mend() -> None:
    refused = ConnectionRefusedError(111, "refused")
    assert "the proxy" in (remedy_of(refused, "URL", proxied=True) or "")
    assert "the proxy" in (remedy_of(NO_HOST, "URL", proxied=True, chosen=False) or "")
    assert remedy_of(TimeoutError(), "URL", proxied=True) is None


def test_which_proxy_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert proxy_for("http://host:80/x") is None
    monkeypatch.setenv("http_proxy", "http://proxy:3128")
    monkeypatch.setenv("no_proxy", "local,.inside")
    assert proxy_for("http://host:80/x") == "http://proxy:3128"
    assert proxy_for("https://host") is None
    assert proxy_for("http://local:8080") is None
    assert proxy_for("http://me:secret@a.inside") is None
    assert proxy_for("no address") is None


def test_the_innermost_is_what_is_said() -> None:
    inner = ConnectionRefusedError(111, "refused")
    assert reason_of(ConnectionError(MaxRetryError(inner))) == "[Errno 111] refused"
    assert reason_of(ValueError("odd")) == "odd"
    assert reason_of(ValueError()) == "ValueError"


def test_errors_that_hold_one_another_come_once() -> None:
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    assert list(causes(one)) == [one, two]


class Answer:
    def __init__(self, said: object) -> None:
        self.headers = {"Retry-After": said}


class HTTPStatusError(Exception):
    """Of requests and httpx."""

    def __init__(self, said: object) -> None:
        super().__init__("503")
        self.response = Answer(said)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("8", 8.0),
        (" 0 ", 0.0),
        ("2.5", 2.5),
        ('"api";r=0;t=42', 42.0),
        ('"api";r=7;t=42', 0.0),
        ("100000", 600.0),
        ("Fri, 31 Dec 2100 23:59:59 GMT", 600.0),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 0.0),
        ("soon", 0.0),
        ("-5", 0.0),
        (8, 0.0),
        (None, 0.0),
    ],
)
def test_how_long_a_server_wants_to_be_left_alone(said: object, seconds: float) -> None:
    outer = RuntimeError("of a library")
    outer.__cause__ = HTTPStatusError(said)
    assert retry_after_of(outer) == seconds


def test_who_says_nothing_of_a_wait_is_not_waited_for() -> None:
    headers = Message()
    headers["Retry-After"] = "3"
    assert retry_after_of(urllib.error.HTTPError("http://x", 429, "busy", headers, None)) == 3.0
    assert retry_after_of(Hostile()) == retry_after_of(ConnectionError("refused")) == 0.0
