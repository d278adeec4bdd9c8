"""The library's session with a server, made to fail within seconds and without a word.

Left alone, ClearML's own session tries a server that is gone 240 times, waits for one in
maintenance (503) and for a bad certificate without end, and says so on stderr. Trying again is the
delivery lane's business.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import requests
from clearml.backend_api.session import Session
from clearml.backend_api.session.defs import MissingConfigError
from clearml.backend_api.utils import get_http_session_with_retry
from clearml.config import config_obj
from clearml.utilities.requests_toolbelt import MultipartEncoder

from tracking_clearml.errors import (
    KEYS,
    ClearMLLoginError,
    ClearMLServerError,
    ClearMLSettingError,
    explained,
    refusal,
)
from tracking_core.faults import TOO_LARGE
from tracking_core.network import proxy_for

__all__ = ["Connection", "connected"]

API_VERSION = "2.13"  # what every server since 1.0 understands
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 20.0
FILE_SECONDS = 60.0  # without a sign of life, while a file is on its way
EVENTS_AT_ONCE = 500
BYTES_AT_ONCE = 4_000_000
REFUSED = range(400, 500)
MAY_PASS = (401, 402, 403, 407, 408, 425, 429)  # the login's or the traffic's fault, not the data's

_NO_RETRIES = dict.fromkeys(("total", "connect", "read", "redirect", "status"), 0)

_quiet = logging.getLogger("tracking.clearml")
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False


def connected() -> Connection:
    """A connection to the server that the user's settings name.

    Raises:
        ClearMLLoginError: there are no credentials, or the server refuses them.
        ClearMLSettingError: the address, a proxy or a certificate is of no use.
        ClearMLUnreachableError, ClearMLServerError: the server can't be reached, or fails.
    """
    try:
        return Connection(logger=_quiet, http_retries_config=dict(_NO_RETRIES))
    except MissingConfigError as error:
        raise ClearMLLoginError(
            f"tracker 'clearml' has no credentials. Do one of these: {KEYS}"
        ) from error
    except Exception as error:
        host = str(Session.get_api_server_host()).rstrip("/")
        better = explained(error, host, proxied=proxy_for(host) is not None)
        if better is error:
            raise
        raise better from error


class Connection(Session):  # type: ignore[misc]  # the library has no types
    """A `Session` whose calls end: in data, or in an error that says what the server said."""

    # The library reads its variable once, when it is imported.
    _offline_mode = False

    def __init__(self, **kwargs: Any) -> None:
        self._http = get_http_session_with_retry(config=config_obj, **_NO_RETRIES)
        self._http.write_timeout = (CONNECT_SECONDS, ANSWER_SECONDS)
        self._connected = False
        super().__init__(**kwargs)

    def _connect(self) -> None:
        # `Task.set_offline(False)` calls it again for every session of the process.
        if not self._connected:
            super()._connect()
            self._connected = True

    # --- requests ---

    def call(self, endpoint: str, **parameters: Any) -> dict[str, Any]:
        """The data that ``service.action`` answers.

        Raises:
            ClearMLServerError: the server says no.
            requests.RequestException: it can't be reached, or does not answer in time.
        """
        service, action = endpoint.split(".")
        answer = self.send_request(service, action, version=API_VERSION, json=parameters)
        return _data(answer)

    def add_events(
        self,
        events: Sequence[dict[str, Any]],
        see_to_the_task: Callable[[], object],
        *,
        once: bool = False,
    ) -> list[dict[str, Any]]:
        """Store `events`; those that the server will never take are returned.

        Args:
            see_to_the_task: raises if it is the task that is to blame, and not the events: one that
                was deleted or published refuses everything.
            once: whether those that the server has already must not be sent again.
        """
        refused = []
        for chunk in _chunks(events):
            refused += self._add_events(chunk, see_to_the_task, once)
        return refused

    def _add_events(
        self,
        events: Sequence[dict[str, Any]],
        see_to_the_task: Callable[[], object],
        once: bool,
    ) -> list[dict[str, Any]]:
        lines = "\n".join(json.dumps(event) for event in events)
        headers = {"Content-Type": "application/json-lines"}
        try:
            answer = self.send_request(
                "events", "add_batch", version=API_VERSION, headers=headers, data=lines.encode()
            )
            # What an answer calls errors is some of them only: the others are stored.
            if once or not _data(answer).get("errors"):
                return []
        except ClearMLServerError as error:
            if error.status_code not in REFUSED or error.status_code in MAY_PASS:
                raise
            if error.foreign and error.status_code not in TOO_LARGE:
                raise
            see_to_the_task()
        if len(events) == 1:
            return list(events)
        middle = len(events) // 2
        parts = events[:middle], events[middle:]
        return [one for part in parts for one in self._add_events(part, see_to_the_task, once)]

    def _send_request(
        self,
        service: str,
        action: str,
        version: str | None = None,
        method: str | None = None,
        headers: dict[str, str] | None = None,
        refresh_token_if_unauthorized: bool = True,
        **kwargs: Any,
    ) -> requests.Response:
        """One request, as the library makes it; a second if its login has run out."""
        address = f"{self.host}/{f'v{version}/' if version else ''}{service}.{action}"
        sent = {**(headers or {}), **dict.fromkeys(self._WORKER_HEADER, self.worker)}
        sent.update(dict.fromkeys(self._CLIENT_HEADER, self.client))
        kwargs["timeout"] = (CONNECT_SECONDS, ANSWER_SECONDS)
        answer = self._twice(method or "post", address, headers=sent, **kwargs)
        if answer.status_code == requests.codes.unauthorized and refresh_token_if_unauthorized:
            self.refresh_token()
            answer = self._twice(
                method or "post", address, headers=self.add_auth_headers(sent), **kwargs
            )
        if answer.status_code not in (200, 202) or _meta(answer) is None:
            raise _refusal(answer, f"{service}.{action}")
        return answer

    def _twice(self, method: str, address: str, **kwargs: Any) -> requests.Response:
        """A connection that the server has closed meanwhile fails once, and at once."""
        try:
            return self._http.request(method, address, **kwargs)
        except requests.Timeout:
            raise
        except requests.ConnectionError:
            return self._http.request(method, address, **kwargs)

    def _get_retry_codes(self) -> list[int]:
        return []

    # --- files ---

    @property
    def files_host(self) -> str:
        """The address of the file server, without a slash at its end."""
        return str(self.get_files_server_host(self.config)).rstrip("/")

    def upload(self, path: str, address: str) -> None:
        """Store the local file `path` at `address`, which may be on any storage ClearML knows."""
        if not address.startswith(f"{self.files_host}/"):
            _upload_elsewhere(path, address)
            return
        name = address[len(self.files_host) + 1 :]
        with open(path, "rb") as file:
            encoder = MultipartEncoder(fields={name: (name, file, "application/octet-stream")})
            answer = self._http.post(
                self.files_host,
                data=encoder,
                headers=self.add_auth_headers({"Content-Type": encoder.content_type}),
                timeout=(CONNECT_SECONDS, FILE_SECONDS),
            )
        if answer.status_code != 200 or _is_page(answer):
            raise _refusal(answer, "an upload")

    def download(self, address: str, path: str) -> None:
        """Write what lies at `address` to the local file `path`."""
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https"):
            from clearml import StorageManager

            found = StorageManager.get_local_copy(address, extract_archive=False)
            if found is None:
                raise FileNotFoundError(address)
            with open(found, "rb") as source, open(path, "wb") as target:
                target.write(source.read())
            return
        ours = address.startswith(f"{self.files_host}/")
        headers = self.add_auth_headers({}) if ours else {}
        with self._http.get(
            address, headers=headers, timeout=(CONNECT_SECONDS, FILE_SECONDS), stream=True
        ) as answer:
            if answer.status_code != 200:
                raise _refusal(answer, f"download of {address}")
            with open(path, "wb") as target:
                for chunk in answer.iter_content(1 << 20):
                    target.write(chunk)

    def close(self) -> None:
        """Close its sockets."""
        self._http.close()


def _data(answer: requests.Response) -> dict[str, Any]:
    return dict(answer.json().get("data") or {})


def _meta(answer: requests.Response) -> dict[str, Any] | None:
    """What each answer of ClearML's has; None if it is somebody else's."""
    try:
        meta = answer.json()["meta"]
    except (ValueError, KeyError, TypeError):
        return None
    return meta if isinstance(meta, dict) and "result_code" in meta else None


def _is_page(answer: requests.Response) -> bool:
    """Whether somebody answers for people, in the place of the file server."""
    return bool(answer.content.lstrip().startswith(b"<"))


def _refusal(answer: requests.Response, what: str) -> ClearMLServerError:
    host = urlsplit(answer.url).netloc
    error = refusal(_meta(answer), answer.status_code, str(answer.reason), host, what)
    error.headers = answer.headers
    return error


def _upload_elsewhere(path: str, address: str) -> None:
    """Store a file on a storage that ClearML has credentials for, or in a directory."""
    from clearml import StorageManager

    place = address.partition("://")[0]
    cause: Exception | None = None
    try:
        if StorageManager.upload_file(path, address, retries=1):
            return
    except AttributeError as error:  # it has no such storage, and uses it all the same
        cause = error
    raise ClearMLSettingError(
        f"tracker 'clearml': ClearML can't store files at {place}://..., where output_uri has them "
        "go: see to the credentials in clearml.conf (sdk.aws, sdk.google.storage, sdk.azure.storage) "
        "and to the package that it needs (boto3, google-cloud-storage, azure-storage-blob)"
    ) from cause


def _chunks(events: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    chunk: list[dict[str, Any]] = []
    size = 0
    for event in events:
        length = 200 + len(event.get("plot_str", "")) + len(event.get("msg", ""))
        if chunk and (len(chunk) == EVENTS_AT_ONCE or size + length > BYTES_AT_ONCE):
            yield chunk
            chunk, size = [], 0
        chunk.append(event)
        size += length
    if chunk:
        yield chunk
