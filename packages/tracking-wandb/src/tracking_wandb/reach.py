"""Whether somebody listens where W&B's server is said to be, found out at once.

W&B's service tries for a minute before it says what is wrong: as long as that, nobody would know.
"""

from __future__ import annotations

import os
import socket
import ssl
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from tracking_wandb.errors import WandBServiceError, WandBSettingError

__all__ = ["see_to"]

SECONDS = 10.0  # for a connection: a server that is further away is left to W&B
PORTS = {"http": 80, "https": 443}
VENDOR = "wandb.ai"
# Not that nobody can say for now.
NO_SUCH_NAME = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}


def see_to(url: str, http_proxy: str | None = None, https_proxy: str | None = None) -> None:
    """Return if something listens at `url`, or if that can't be told from here.

    Args:
        url: the server's address.
        http_proxy, https_proxy: the proxies that W&B's settings name, beside the environment's.

    Raises:
        WandBServiceError: nobody listens there.
        WandBSettingError: there is no such host, no such proxy, or it speaks no TLS.
    """
    server = urlsplit(url)
    proxy = _proxy(server, {"http": http_proxy, "https": https_proxy})
    place = server if proxy is None else proxy
    if not place.hostname or place.scheme not in PORTS:
        return
    try:
        port = _port(place)
    except ValueError:
        return  # W&B's service says what it makes of that
    try:
        with socket.create_connection((place.hostname, port), SECONDS) as connection:
            if place.scheme == "https":
                _shake_hands(connection, place.hostname)
    except TimeoutError:
        return  # a firewall, or a long way: W&B may be more patient
    except (OSError, UnicodeError) as error:
        raise _explained(error, server, proxy) from error


def _explained(error: Exception, server: SplitResult, proxy: SplitResult | None) -> Exception:
    begun = "tracker 'wandb' could not begin a run"
    host = f"{server.scheme}://{server.hostname}:{_port(server)}"
    if proxy is not None:
        return WandBSettingError(
            f"{begun}: the proxy {proxy.hostname}:{_port(proxy)} does not answer: see to "
            f"HTTPS_PROXY and HTTP_PROXY, or take {server.hostname} out of it with NO_PROXY "
            f"({error})"
        )
    if isinstance(error, ssl.SSLError):
        return WandBSettingError(
            f"{begun}: {host} speaks no TLS: WANDB_BASE_URL has to begin with http:// ({error})"
        )
    named = not str(server.hostname).endswith(VENDOR)
    unknown = isinstance(error, UnicodeError) or getattr(error, "errno", 0) in NO_SUCH_NAME
    if unknown and named:
        return WandBSettingError(
            f"{begun}: there is no host {server.hostname!r}: see to WANDB_BASE_URL ({error})"
        )
    remedy = ", which WANDB_BASE_URL names" if named else ""
    return WandBServiceError(f"{begun}: nobody answers at {host}{remedy} ({error})")


def _shake_hands(connection: socket.socket, name: str) -> None:
    """Begin TLS and say nothing. Whom to trust is W&B's business: it has its own certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with context.wrap_socket(connection, server_hostname=name):
            pass
    except ssl.SSLError as error:
        # Of all that may go wrong only this one is sure to be no TLS at all.
        if error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
            raise
    except OSError:
        return


def _proxy(server: SplitResult, settings: dict[str, str | None]) -> SplitResult | None:
    """The proxy that W&B's service will take to `server`, by the rules of Go's library."""
    host = server.hostname or ""
    loopback = host == "localhost" or host.startswith("127.") or host == "::1"
    if loopback or proxy_bypass(host):
        return None
    named = settings.get(server.scheme) or _environments(server.scheme)
    if not named:
        return None
    return urlsplit(named if "://" in named else f"http://{named}")


def _environments(scheme: str) -> str | None:
    if "REQUEST_METHOD" in os.environ:  # a CGI program, whose HTTP_PROXY a stranger can set
        return None
    return getproxies_environment().get(scheme)


def _port(place: SplitResult) -> int:
    return place.port or PORTS.get(place.scheme, 0)
