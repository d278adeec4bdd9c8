"""An experiment on Comet's server: everything is sent at once, and what does not arrive is raised.

Comet's own client sends from threads, for half a minute at a time; when it can't, it drops what it
holds or turns it into an archive. Here a call is tried once, within the seconds that
``COMET_TIMEOUT_HTTP`` allows (10), and who delivers tries again.
"""

from __future__ import annotations

import io
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from tracking_comet_ml.batch import Asset, Batch, Parameter, Point
from tracking_comet_ml.layout import STATUS
from tracking_comet_ml.messages import Messages
from tracking_comet_ml.settings import CometSettingError, Settings, imported
from tracking_core.names import unescape
from tracking_core.records import Status

__all__ = ["OnlineSession"]

AT_ONCE = 1000  # points or parameters in one request
FILE_SECONDS = 120.0  # Comet's own client waits fifteen minutes for an answer
REFUSED = (400, 413, 414, 415, 422)  # what no second try changes; a key can be renewed
HANDSHAKES = ("/add/run", "/get/run")
BEATS = range(1, 61)  # seconds between two signs of life, whatever the server asks for

Item = TypeVar("Item", Point, Parameter)
Rejected = tuple[str, object, str]


class OnlineSession:
    """The experiment of `settings` on the server, made or gone on with.

    It is said to have begun at `began_at`, or now.

    Raises:
        CometSettingError: the server refuses the API key, or has no such experiment, or has one
            where `mode` asks for a new one.
        CometRestApiException: the server fails.
        OSError: it can't be reached, or does not answer in time.
    """

    def __init__(self, settings: Settings, began_at: float | None = None) -> None:
        self._settings = settings
        self._connection, self._rest = _clients(settings)
        self._shake_hands()
        # The experiment is made: whatever fails from here on must not make another at the next try.
        with suppress(Exception):
            self._connection.heartbeat()
        self._began = round((time.time() if began_at is None else began_at) * 1000)
        self._taken: Counter[Hashable] = Counter()
        self._messages = Messages()
        self._heart = _Heart(settings, self._connection.run_id, self._connection.project_id)

    def store(self, batch: Batch) -> list[Rejected]:
        """Send `batch`; what the server refuses for good, by its name and the reason.

        Raises:
            CometRestApiException: the server fails, or refuses the API key.
            OSError: it can't be reached, or does not answer in time. What it has taken by then is
                left out when it comes again.
        """
        again, self._taken = self._taken, Counter()
        rejected: list[Rejected] = []
        try:
            points = [one for one in batch.points if not self._skipped(_sign(one), again)]
            send_points, metric = self._connection.log_metrics_batch, self._messages.metric
            for chunk in _chunks(points):
                rejected += self._send(send_points, metric, chunk)
            parameters = [one for one in batch.parameters if not self._skipped(_sign(one), again)]
            send, parameter = self._connection.log_parameters_batch, self._messages.parameter
            for part in _chunks(parameters):
                rejected += self._send(send, parameter, part)
            for key, value in batch.others.items():
                rejected += self._other(key, value)
            if batch.tags:
                rejected += self._tags(batch.tags)
            for asset in batch.assets:
                rejected += self._asset(asset, again)
        except BaseException:
            # Also what an earlier try had sent, and this one did not come to.
            self._taken += again
            raise
        self._taken = again
        return rejected

    def end(self, status: Status, ended_at: int) -> None:
        """Say how the experiment ended; `ended_at` is in milliseconds since the epoch."""
        self._other(STATUS, status)
        if status == "finished":
            self._connection.update_experiment_status(
                self._connection.run_id, self._connection.project_id, False
            )
        else:
            reason = "the run failed" if status == "failed" else "the run was killed"
            self._rest.update_experiment_error_status(
                self._settings.key, is_alive=False, error_value=reason, has_crashed=True
            )
        self._heart.stop()
        with suppress(Exception):  # the run has ended, whatever time is shown for it
            self._rest.set_experiment_start_end(self._settings.key, self._began, ended_at)
        self._connection.close()

    # --- requests ---

    def _shake_hands(self) -> None:
        settings, exceptions = self._settings, imported().exceptions
        try:
            if settings.mode == "get":
                self._connection.get_run(settings.key)
            else:
                self._connection.add_run(
                    settings.project,
                    settings.workspace,
                    get_or_create_mode=settings.mode == "get_or_create",
                )
        except exceptions.InvalidAPIKey:  # whose text is the key
            raise CometSettingError(
                f"tracker 'comet_ml': {self._connection.server_address} does not know this API key: "
                "set COMET_API_KEY to one of yours, or COMET_URL_OVERRIDE to your own server"
            ) from None
        except exceptions.ExperimentAlreadyUploaded:
            raise CometSettingError(
                f"tracker 'comet_ml': the server has an experiment {settings.key!r} already, and "
                "mode='create' asks for a new one: go on with it by mode='get_or_create', or "
                "choose another experiment_key"
            ) from None
        except exceptions.ExperimentNotFound:
            raise CometSettingError(
                f"tracker 'comet_ml': the server has no experiment {settings.key!r} that this API "
                "key may write to: make it by mode='get_or_create'"
            ) from None

    def _send(
        self, send: Callable[..., None], message: Callable[[Item, int], Any], items: Sequence[Item]
    ) -> list[Rejected]:
        wrapped = imported().batch_utils.MessageBatchItem
        messages = [wrapped(message(item, number)) for number, item in enumerate(items, 1)]
        try:
            send(items=messages)
        except Exception as error:
            if len(items) > 1 and _status(error) in REFUSED:
                middle = len(items) // 2
                left = self._send(send, message, items[:middle])
                return left + self._send(send, message, items[middle:])
            return self._refused(items[0].name, items[0].value, error)
        self._taken.update(map(_sign, items))
        return []

    def _other(self, key: str, value: Any) -> list[Rejected]:
        try:
            self._rest.log_experiment_other(self._settings.key, key, value)
        except Exception as error:
            return self._refused(key, value, error)
        return []

    def _tags(self, tags: list[str]) -> list[Rejected]:
        try:
            self._connection.add_tags(tags)
        except Exception as error:
            return self._refused("tags", tags, error)
        return []

    def _asset(self, asset: Asset, again: Counter[Hashable]) -> list[Rejected]:
        if isinstance(asset.content, str) and not os.path.isfile(asset.content):
            return [(unescape(asset.name), asset.content, "the file is gone")]
        asset_id = asset.id(self._settings.key)
        if not self._skipped(asset_id, again):
            try:
                self._upload(asset, asset_id)
            except Exception as error:
                return self._refused(asset.name, asset.content, error)
            self._taken[asset_id] += 1
        return []

    def _refused(self, name: str, value: object, error: Exception) -> list[Rejected]:
        """What to say of an item that the server refuses for good; any other error is raised."""
        if _status(error) not in REFUSED:
            raise error
        # An experiment that was deleted refuses everything: that is no fault of the items.
        self._connection.heartbeat()
        # The text of the error may hold the value, and a value may be a secret.
        return [(unescape(name), value, f"Comet refuses it (HTTP status {_status(error)})")]

    def _upload(self, asset: Asset, asset_id: str) -> None:
        connection, upload = self._connection, imported().connection.connection_upload
        fields = {
            name: value for name, value in asset.fields(asset_id).items() if value is not None
        }
        request: dict[str, Any] = {
            "post_endpoint": connection.get_upload_url(asset.kind),
            "params": {
                "experimentId": self._settings.key,
                "projectId": connection.project_id,
                **fields,
                "runId": connection.run_id,
            },
            "headers": {"Authorization": self._settings.api_key},
            "timeout": float(os.environ.get("COMET_TIMEOUT_FILE_UPLOAD", FILE_SECONDS)),
            "session": connection._low_level_http_client.session,
            "metadata": dict(asset.metadata),
        }
        if isinstance(asset.content, bytes):
            response = upload.send_file_like(file_like=io.BytesIO(asset.content), **request)
        else:
            response = upload.send_file(file_path=asset.content, **request)
        if response.status_code >= 400:
            raise imported().exceptions.CometRestApiException("POST", response)

    def _skipped(self, sign: Hashable, again: Counter[Hashable]) -> bool:
        """Whether the server has taken this in a call that failed later on."""
        if not again[sign]:
            return False
        again[sign] -= 1
        self._taken[sign] += 1
        return True


class _Heart:
    """Tells the server now and then that the run goes on: without, it counts as dead."""

    def __init__(self, settings: Settings, run_id: str, project_id: str) -> None:
        self._connection, _ = _clients(settings)
        self._connection.run_id, self._connection.project_id = run_id, project_id
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="tracking-comet-ml", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop; a request on its way is not waited for."""
        self._stopped.set()

    def _beat(self) -> None:
        pause: float = BEATS[9]
        while not self._stopped.wait(pause):
            # A server that is gone is the business of whoever delivers.
            with suppress(Exception):
                asked_for, *_ = self._connection.heartbeat()
                pause = min(max(asked_for / 1000, BEATS[0]), BEATS[-1])
        self._connection.close()


def _clients(settings: Settings) -> tuple[Any, Any]:
    """Comet's two clients, for the addresses of its loggers and of its REST API; tried once."""
    comet_ml = imported()
    api, factory = comet_ml.connection.connection_api, comet_ml.connection.connection_factory

    class Once(api.LowLevelHTTPClient):  # type: ignore[misc, name-defined]  # it is found at run time
        def do(self, *args: Any, **kwargs: Any) -> Any:
            response = super().do(*args, **{**kwargs, "retry": False, "session": None})
            # What a refused handshake means, its own method says. Of all others it makes a
            # ValueError that nobody can tell from the next.
            if not str(kwargs.get("url")).endswith(HANDSHAKES) or response.status_code >= 500:
                api.raise_for_status_code(response)
            return response

    config = comet_ml.get_config()
    connection = factory.get_rest_server_connection(settings.api_key, settings.key)
    connection._low_level_http_client.close()
    once = connection._low_level_http_client = Once(
        api_key=settings.api_key,
        server_address=connection.server_address,
        default_timeout=connection.default_timeout,
        verify_tls=comet_ml.config.get_check_tls_certificate(config),
        config=config,
        headers={"X-COMET-DEBUG-EXPERIMENT-KEY": settings.key},
        default_retry=False,
    )
    root = comet_ml.utils.get_root_url(comet_ml.config.get_comet_url_override(config))
    rest = api.RestApiClient(root, "v2", once, settings.api_key, config, check_version=False)
    return connection, rest


def _chunks(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), AT_ONCE):
        yield items[start : start + AT_ONCE]


def _sign(item: Point | Parameter) -> Hashable:
    name, value, *rest = item
    return (type(item), name, repr(value), *rest)  # NaN differs from itself


def _status(error: Exception) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)
