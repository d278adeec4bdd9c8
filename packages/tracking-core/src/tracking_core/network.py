"""Why a server can't be reached, where a person has to mend that: an address, a proxy, a certificate.

Libraries wrap what went wrong in errors of their own, several layers deep. Here the innermost is
found, and the setting named that mends it. What may pass by itself is none of this.
"""

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Iterator
from operator import attrgetter
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

__all__ = ["causes", "proxy_for", "reason_of", "remedy_of", "retry_after_of"]

PROXY = (
    "the proxy does not let it through: see to HTTPS_PROXY and HTTP_PROXY, or take the host out of "
    "it with NO_PROXY"
)
NO_ADDRESS = frozenset({
    "InvalidSchema", "InvalidURL", "LocationParseError", "MissingSchema", "UnsupportedProtocol",
})  # fmt: skip
# Not that nobody can say for now.
NO_SUCH_NAME = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}
LONGEST_TO_BE_ASKED_FOR = 600.0
WAITS = ("Retry-After", "Retry-After-Custom", "RateLimit")
NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"})


def remedy_of(
    error: BaseException,
    address: str,
    *,
    certificates: str = "SSL_CERT_FILE",
    chosen: bool = True,
    proxied: bool = False,
) -> str | None:
    """What a person has to do so that the server is reached, in a sentence; None if it may pass.

    Args:
        error: that a library raised.
        address: the setting that says where the server is, such as ``"WANDB_BASE_URL"``.
        certificates: the variable by which the library is told whom to trust.
        chosen: whether the user has chosen that server: that the vendor's own can't be found is no
            mistake of theirs.
        proxied: whether the connection that failed was one to a proxy (`proxy_for`).
    """
    for cause in causes(error):
        if type(cause).__name__ == "ProxyError":
            return PROXY
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                f"its certificate is not trusted: let {certificates} name a file with the "
                "certificate of who signed it"
            )
        if isinstance(cause, ssl.SSLError) and getattr(cause, "reason", None) in NO_TLS:
            return f"it speaks no TLS: {address} has to begin with http://"
        if proxied and isinstance(cause, (ConnectionRefusedError, socket.gaierror)):
            return PROXY
        if chosen and isinstance(cause, socket.gaierror) and cause.errno in NO_SUCH_NAME:
            return f"there is no such host: see to {address}"
        if type(cause).__name__ in NO_ADDRESS or isinstance(cause, UnicodeError):
            return f"{address} is no address"
    return None


def retry_after_of(error: BaseException) -> float:
    """How many seconds the server asks to be left alone for, ten minutes at most; 0 if it does not.

    Looks at the answers that HTTP libraries put on their errors: at the header ``Retry-After`` (RFC
    9110, section 10.2.3), and at those that Comet and Hugging Face have for it.
    """
    for cause in causes(error):
        for path in ("response.headers", "headers"):
            try:
                headers = attrgetter(path)(cause)
                found = [headers.get(name) for name in WAITS]
            except Exception:  # a stranger's error, or none of HTTP
                continue
            for said in found:
                if isinstance(said, str):
                    return min(max(_seconds(said), 0.0), LONGEST_TO_BE_ASKED_FOR)
    return 0.0


def _seconds(said: str) -> float:
    # Hugging Face says `"api";r=0;t=42`: no calls are left, and there will be in 42 seconds.
    number = re.fullmatch(r"\s*(?:.*;\s*r=0\s*;\s*t=)?(\d{1,9}(?:\.\d+)?)\s*", said)
    if number:
        return float(number[1])
    from email.utils import parsedate_to_datetime  # takes a while, and few servers say a date

    try:
        return parsedate_to_datetime(said).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return 0.0


def proxy_for(url: str) -> str | None:
    """The proxy that the environment names for `url`; None if there is none."""
    parts = urlsplit(url)
    if not parts.hostname or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    proxies = getproxies_environment()
    return proxies.get(parts.scheme) or proxies.get("all")


def reason_of(error: BaseException) -> str:
    """The innermost of what an error says: the outer ones repeat it, in more words."""
    found = [cause for cause in causes(error) if isinstance(cause, OSError) and str(cause)]
    last = found[-1] if found else error
    return str(last) or type(last).__name__


def causes(error: BaseException) -> Iterator[BaseException]:
    """`error`, what it was raised from, and what lies in it: each once, the outer ones first."""
    seen: set[int] = set()
    waiting: list[Any] = [error]
    while waiting:
        cause = waiting.pop(0)
        if isinstance(cause, BaseException) and id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            waiting += [*_inside(cause), cause.__cause__]
            if not cause.__suppress_context__:
                waiting.append(cause.__context__)


def _inside(error: BaseException) -> tuple[Any, ...]:
    try:
        return (*error.args, getattr(error, "reason", None))  # where urllib and urllib3 keep it
    except Exception:  # a stranger's error: its attributes may raise anything
        return ()
