"""Where a repository is: a directory, or a server that is looked at before Aim is.

Aim's client does not tell who answered in place of the server.
"""

from __future__ import annotations

import os
import socket

from tracking_aim.errors import AimRepositoryError
from tracking_core import files

__all__ = ["absolute", "is_remote", "look_at", "public"]

REMOTE = "aim://"
LOGIN = (401, 403, 407)
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


def look_at(address: str, seconds: float) -> None:
    """Return if an Aim server answers at `address`.

    Raises:
        ConnectionError: nobody answers there, or somebody else, such as a gateway.
        TimeoutError: not within `seconds`.
        requests.HTTPError: who answers lets nobody in without a login.
        AimRepositoryError: its certificate is not trusted, there is no such host, or this is no
            address.
    """
    import requests  # Aim's client asks by it, too

    where = f"the Aim server at {public(address)}"
    stranger: requests.Response | None = None
    failure: Exception | None = None
    for scheme in ("http", "https"):  # as Aim's client does
        url = f"{scheme}://{address.removeprefix(REMOTE).rstrip('/')}/status/"
        try:
            stranger = requests.get(url, timeout=seconds)
        except requests.Timeout as error:
            raise TimeoutError(f"{where} did not answer in {seconds:g} s") from error
        except (requests.exceptions.InvalidURL, UnicodeError) as error:
            raise AimRepositoryError(
                f"tracker 'aim': {public(address)!r} is no address of an Aim server, which is like "
                "aim://host:53800"
            ) from error
        except requests.RequestException as error:
            failure = failure or error
            if _says_no_such_host(error):
                raise AimRepositoryError(
                    f"tracker 'aim': there is no host of the name in {public(address)!r}"
                ) from error
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise AimRepositoryError(
                    f"tracker 'aim': the certificate of {where} is not trusted. Name the file of "
                    "who signed it in REQUESTS_CA_BUNDLE and SSL_CERT_FILE"
                ) from error
        else:
            if stranger.ok and _says_ok(stranger):
                return
            if stranger.status_code in LOGIN:
                raise requests.HTTPError(
                    f"{where} asks for a login (HTTP {stranger.status_code}), and Aim's client has "
                    "none: have whoever stands before it let this machine in",
                    response=stranger,
                )
            if stranger.status_code not in SPEAK_TLS:
                break
    if stranger is not None:
        raise ConnectionError(
            f"what answers at {public(address)} is no Aim server (HTTP {stranger.status_code}). It "
            "may come back; `aim server` is what takes runs, on port 53800, not `aim up`"
        )
    raise ConnectionError(f"{where}: {_reason(failure)}") from failure


def _says_ok(answer: object) -> bool:
    try:
        said = answer.json()  # type: ignore[attr-defined]  # of requests, which is not imported here
    except ValueError:
        return False
    return isinstance(said, dict) and said.get("status") == "OK"


def _says_no_such_host(error: BaseException | None) -> bool:
    """Whether the name has no host; a resolver that can't be asked says something else."""
    while error is not None:
        if isinstance(error, socket.gaierror):
            return error.errno == socket.EAI_NONAME
        error = error.__cause__ or error.__context__
    return False


def _reason(error: Exception | None) -> str:
    """What urllib3 says inside of what requests says."""
    inner = error.args[0] if error is not None and error.args else error
    return str(getattr(inner, "reason", inner))
