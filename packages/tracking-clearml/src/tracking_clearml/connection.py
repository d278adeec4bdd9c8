"""The library's session with a server, made to fail within seconds and without a word.

Left alone, ClearML's own session tries a server that is gone 240 times, waits for one in
maintenance (503) and for a bad certificate without end, and says so on stderr. Trying again is the
delivery lane's business.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import requests
from clearml.backend_api.session import Session
from clearml.backend_api.session.defs import MissingConfigError
from clearml.backend_api.utils import get_http_session_with_retry
from clearml.config import config_obj
from clearml.utilities.requests_toolbelt import MultipartEncoder

from tracking_clearml.errors import ClearMLServerError, ClearMLSettingError

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
        ClearMLSettingError: there are no credentials.
        LoginError: the server can't be reached or does not know them.
    """
    try:
        return Connection(logger=_quiet, http_retries_config=dict(_NO_RETRIES))
    except MissingConfigError as error:
        raise ClearMLSettingError(
            "tracker 'clearml' has no credentials: run `clearml-init`, or set "
            "CLEARML_API_ACCESS_KEY and CLEARML_API_SECRET_KEY (and CLEARML_API_HOST, "
            "CLEARML_WEB_HOST, CLEARML_FILES_HOST for a server of your own), or set "
            "CLEARML_OFFLINE_MODE=1 to log to a folder of this machine"
        ) from error


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
        return _data(answer, endpoint)

    def add_events(self, events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Store `events`; those that the server will never take are returned."""
        refused = []
        for chunk in _chunks(events):
            refused += self._add_events(chunk)
        return refused

    def _add_events(self, events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        lines = "\n".join(json.dumps(event) for event in events)
        headers = {"Content-Type": "application/json-lines"}
        try:
            answer = self.send_request(
                "events", "add_batch", version=API_VERSION, headers=headers, data=lines.encode()
            )
            if not _data(answer, "events.add_batch").get("errors"):
                return []
        except ClearMLServerError as error:
            if error.status_code not in REFUSED or error.status_code in MAY_PASS:
                raise
            # A task that was deleted refuses everything: that is no fault of the events.
            self.call("tasks.get_by_id", task=events[0]["task"])
        if len(events) == 1:
            return list(events)
        middle = len(events) // 2
        return self._add_events(events[:middle]) + self._add_events(events[middle:])

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
        if answer.status_code not in (200, 202):
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
            from clearml import StorageManager

            StorageManager.upload_file(path, address, retries=1)
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
        if answer.status_code != 200:
            raise _refusal(answer, "upload of a file")

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


def _data(answer: requests.Response, endpoint: str) -> dict[str, Any]:
    try:
        return dict(answer.json().get("data") or {})
    except ValueError as error:
        raise ClearMLSettingError(
            f"tracker 'clearml': {urlsplit(answer.url).netloc} does not answer {endpoint} as "
            "ClearML's API server does: check CLEARML_API_HOST (it is not the web server's address)"
        ) from error


def _refusal(answer: requests.Response, what: str) -> ClearMLServerError:
    try:
        said = str(answer.json()["meta"]["result_msg"])
    except (ValueError, KeyError, TypeError):
        said = str(answer.reason)
    where = urlsplit(answer.url).netloc
    return ClearMLServerError(
        f"ClearML at {where} refused {what} ({answer.status_code}): {said[:500]}",
        answer.status_code,
    )


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
