"""Where a repository is: a directory, or a server that is looked at before Aim is.

Aim's client does not tell who answered in place of the server.
"""

from __future__ import annotations

import os
import ssl
from typing import Any

from tracking_aim.errors import AimLoginError, AimRepositoryError, AimServerError
from tracking_core import files
from tracking_core.network import causes, proxy_for, reason_of, remedy_of

__all__ = [
    "absolute",
    "certificates",
    "is_page",
    "is_remote",
    "look_at",
    "no_server",
    "public",
    "refusal",
]

ADDRESS = "init_kwargs['aim']['repo']"
CERTIFICATES = ("__AIM_CLIENT_SSL_CERTIFICATES_FILE__", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""What Aim's client and requests look at for whom to trust."""
CONNECT_SECONDS = 4.0
"""How long a connection may take."""

REMOTE = "aim://"
SPEAK_TLS = (400, 426, 497)
"""What a server that speaks TLS answers to whoever does not."""


def is_remote(address: str) -> bool:
    """Whether it is that of a server."""
    return address.startswith(REMOTE)


def absolute(address: str) -> str:
    """`address` for a process with another working directory."""
    return address if "://" in address else files.absolute(os.path.expanduser(address))


def public(address: str) -> str:
    """`address` without a name and a password in it."""
    scheme, separator, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    shown = f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"
    return shown if separator else address


def look_at(address: str, seconds: float) -> str:
    """Which of ``"http"`` and ``"https"`` an Aim server at `address` speaks.

    Raises:
        AimServerError: somebody else answers there, such as a gateway.
        ConnectionError: nobody answers there.
        TimeoutError: not within `seconds`.
        AimLoginError: who answers lets nobody in without a login.
        AimRepositoryError: the address, a proxy or a certificate has to be seen to.
    """
    import requests  # Aim's client asks by it, too

    where = f"the Aim server at {public(address)}"
    answer: requests.Response | None = None
    failure: Exception | None = None
    for scheme in ("http", "https"):  # as Aim's client does
        url = f"{scheme}://{address.removeprefix(REMOTE).rstrip('/')}/status/"
        try:
            answer = requests.get(
                url, timeout=(CONNECT_SECONDS, seconds), verify=certificates() or True
            )
        except requests.ConnectTimeout as error:
            raise TimeoutError(f"{where} can't be connected to in {CONNECT_SECONDS:g} s") from error
        except requests.Timeout as error:
            raise TimeoutError(f"{where} did not answer in {seconds:g} s") from error
        except (requests.exceptions.InvalidURL, UnicodeError) as error:
            raise AimRepositoryError(
                f"tracker 'aim': {public(address)!r} is no address of an Aim server, which is like "
                "aim://host:53800"
            ) from error
        except requests.RequestException as error:
            failure = failure or error
            remedy = remedy_of(
                error,
                ADDRESS,
                certificates="REQUESTS_CA_BUNDLE",
                proxied=proxy_for(url) is not None,
            )
            # That it speaks no TLS is none: it was asked without, too.
            if remedy and not _is_no_tls(error):
                raise AimRepositoryError(
                    f"tracker 'aim' can't reach {where}: {remedy} ({reason_of(error)})"
                ) from error
        else:
            if answer.ok and _says_ok(answer):
                return "https" if answer.url.startswith("https:") else scheme
            if answer.status_code not in SPEAK_TLS:
                break
    if answer is not None:
        raise refusal(address, answer)
    raise ConnectionError(
        f"{where}: nobody answers ({reason_of(failure or OSError())})"
    ) from failure


def certificates() -> str | None:
    """The file or directory that says whom to trust; None for what everybody trusts."""
    return next((place for name in CERTIFICATES if (place := os.environ.get(name))), None)


def refusal(address: str, answer: Any) -> Exception:
    """What to raise for an `answer` that is no Aim server's, or that lets nobody in.

    Args:
        answer: of ``requests`` or ``websockets``.
    """
    status, where = answer.status_code, f"the Aim server at {public(address)}"
    # A page for people with a 403 is that of a gateway with nobody behind it.
    if status == 401 or (status == 403 and not is_page(answer)):
        return AimLoginError(
            f"who stands before {where} asks for a login (HTTP {status}): give its name and password "
            f"in {ADDRESS}, as in aim://name:password@host:53800, or have it let this machine in",
            answer,
        )
    if status == 407:
        return AimLoginError(
            f"the proxy before {where} asks for a login (HTTP 407): give its name and password in "
            "HTTPS_PROXY and HTTP_PROXY, or take the host out of it with NO_PROXY",
            answer,
        )
    if status == 429:
        return AimServerError(f"{where} asks to be asked less (HTTP 429)", answer)
    return no_server(address, answer)


def is_page(answer: Any) -> bool:
    """Whether it is HTML: no Aim server answers so."""
    return "html" in str(answer.headers.get("Content-Type", "")).lower()


def no_server(address: str, answer: Any) -> AimServerError:
    """What to raise for an `answer` that is somebody else's."""
    return AimServerError(
        f"what answers at {public(address)} is no Aim server (HTTP {answer.status_code}). It may "
        "come back; `aim server` is what takes runs, on port 53800, not `aim up`",
        answer,
    )


def _says_ok(answer: object) -> bool:
    try:
        said = answer.json()  # type: ignore[attr-defined]  # of requests, which is not imported here
    except ValueError:
        return False
    return isinstance(said, dict) and said.get("status") == "OK"


def _is_no_tls(error: BaseException) -> bool:
    found = [cause for cause in causes(error) if isinstance(cause, ssl.SSLError)]
    return bool(found) and not any(isinstance(one, ssl.SSLCertVerificationError) for one in found)
