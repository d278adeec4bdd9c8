"""Whether somebody listens where W&B's server is said to be, found out at once.

W&B's service tries for a minute before it says what is wrong: as long as that, nobody would know.
"""

from __future__ import annotations

import socket
import ssl
from urllib.parse import urlsplit

from tracking_core.network import proxy_for, reason_of, remedy_of
from tracking_wandb.errors import ADDRESS, WandBServiceError, WandBSettingError

__all__ = ["proxy_of", "see_to"]

SECONDS = 10.0  # for a connection: a server that is further away is left to W&B
PORTS = {"http": 80, "https": 443}


def see_to(
    url: str,
    *,
    chosen: bool,
    http_proxy: str | None = None,
    https_proxy: str | None = None,
) -> None:
    """Return if something listens at `url`, or if that can't be told from here.

    Args:
        url: the server's address.
        chosen: whether that is not W&B's own.
        http_proxy, https_proxy: the proxies that W&B's settings name, beside the environment's.

    Raises:
        WandBServiceError: nobody listens there.
        WandBSettingError: there is no such host, no such proxy, or it speaks no TLS.
    """
    server = urlsplit(url)
    proxy = proxy_of(url, http_proxy, https_proxy)
    place = urlsplit(proxy) if proxy else server
    try:
        port = place.port or PORTS[place.scheme]
        if not place.hostname:
            return
    except (KeyError, ValueError):
        return  # W&B's service says what it makes of that
    try:
        with socket.create_connection((place.hostname, port), SECONDS) as connection:
            if place.scheme == "https":
                _shake_hands(connection, place.hostname)
    except TimeoutError:
        return  # a firewall, or a long way: W&B may be more patient
    except (OSError, UnicodeError) as error:
        begun = f"tracker 'wandb' could not begin a run on {url}"
        remedy = remedy_of(error, ADDRESS, chosen=chosen, proxied=proxy is not None)
        if remedy:
            raise WandBSettingError(f"{begun}: {remedy} ({reason_of(error)})") from error
        named = f", which {ADDRESS} names" if chosen else ""
        raise WandBServiceError(f"{begun}{named}: nobody answers ({reason_of(error)})") from error


def _shake_hands(connection: socket.socket, name: str) -> None:
    """Begin TLS and say nothing. Whom to trust is W&B's business: it has its own certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with context.wrap_socket(connection, server_hostname=name):
            pass
    except OSError as error:
        # Of all that may go wrong only this one is sure to be no TLS at all.
        if remedy_of(error, ADDRESS):
            raise


def proxy_of(url: str, http_proxy: str | None, https_proxy: str | None) -> str | None:
    """The proxy that W&B's service will take to `url`, by the rules of Go's library."""
    server = urlsplit(url)
    host = server.hostname or ""
    if host in ("localhost", "::1") or host.startswith("127."):
        return None
    settings = {"http": http_proxy, "https": https_proxy}
    named = settings.get(server.scheme) or proxy_for(url)
    if not named:
        return None
    return named if "://" in named else f"http://{named}"
