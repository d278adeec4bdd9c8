"""An experiment on Comet's server: everything is sent at once, and what does not arrive is raised.

Comet's own client sends from threads, for half a minute at a time; when it can't, it drops what it
holds or turns it into an archive. Here a call is tried once, within the seconds that
``COMET_TIMEOUT_HTTP`` allows (10), and who delivers tries again.
"""

from __future__ import annotations

import io
import math
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from tracking_comet_ml.batch import Asset, Batch, Parameter, Point
from tracking_comet_ml.errors import (
    GONE,
    CometExperimentError,
    CometSettingError,
    explained,
    refuse_strangers,
    words_of,
)
from tracking_comet_ml.layout import STATUS
from tracking_comet_ml.messages import Messages
from tracking_comet_ml.settings import Settings, imported
from tracking_core.faults import TOO_LARGE, fault_of, status_of
from tracking_core.files import too_large
from tracking_core.names import unescape
from tracking_core.network import causes
from tracking_core.records import Status

__all__ = ["OnlineSession"]

AT_ONCE = 1000  # points or parameters in one request
FILE_SECONDS = 120.0  # Comet's own client waits fifteen minutes for an answer
REFUSED = (400, 413, 414, 415, 422, 431)  # what no second try changes; a key can be renewed
NOT_LET_IN = (401, 402, 403)
# What the server says of a file that it has, and of one more than it takes of a kind.
THERE = frozenset({7000005, 7000006})
TOO_MANY = frozenset({7000001, *range(7000012, 7000019)})
NAMES_AT_ONCE = 10  # whose points are asked for one by one: else all are
HANDSHAKES = ("/add/run", "/get/run")
BEATS = range(1, 61)  # seconds between two signs of life, whatever the server asks for

Item = TypeVar("Item", Point, Parameter)
Rejected = tuple[str, object, str]


class OnlineSession:
    """The experiment of `settings` on the server, made or gone on with.

    It is said to have begun at `began_at`, or now. `begun` says that it was gone on with, and that
    the server may have points that come again.

    Raises:
        CometSettingError: the server has no such experiment, or has one where `mode` asks for a new
            one; or the address is of no use.
        CometLoginError: the server refuses the API key.
        CometServerError: it fails or can't be reached, or something else answers.
        CometExperimentError: it does not take this experiment.
    """

    def __init__(
        self, settings: Settings, began_at: float | None = None, *, begun: bool = False
    ) -> None:
        self._settings = settings
        self._connection, self._rest = _clients(settings)
        try:
            self._shake_hands()
        except BaseException:
            self._connection.close()
            raise
        # The experiment is made: whatever fails from here on must not make another at the next try.
        with suppress(Exception):
            self._connection.heartbeat()
        self._began = round((time.time() if began_at is None else began_at) * 1000)
        self._taken: Counter[Hashable] = Counter()
        # Points of which nobody knows whether the server has taken them; None: any may be one.
        self._doubtful: set[Hashable] | None = None if begun else set()
        self._messages = Messages()
        self._heart = _Heart(settings, self._connection.run_id, self._connection.project_id)

    def store(self, batch: Batch) -> list[Rejected]:
        """Send `batch`; what the server refuses for good, by its name and the reason.

        Raises:
            CometRestApiException: the server fails, or refuses the API key.
            CometServerError: something else answers.
            CometExperimentError: the server does not take the experiment any more.
            OSError: it can't be reached, or does not answer in time. What it has taken by then is
                left out when it comes again.
        """
        again, self._taken = self._taken, Counter()
        rejected: list[Rejected] = []
        try:
            points = [one for one in batch.points if not self._skipped(_sign(one), again)]
            points = self._without_those_there(points)
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

    def abandon(self) -> None:
        """Leave it to the next try, which goes on with it."""
        self._heart.stop()
        self._connection.close()

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
        except Exception as error:
            better = explained(error, self._connection.server_address)
            if better is error:
                raise
            # The text of some of Comet's errors is the key.
            raise better from (error if isinstance(error, OSError) else None)

    def _send(
        self, send: Callable[..., None], message: Callable[[Item, int], Any], items: Sequence[Item]
    ) -> list[Rejected]:
        wrapped = imported().batch_utils.MessageBatchItem
        messages = [wrapped(message(item, number)) for number, item in enumerate(items, 1)]
        try:
            send(items=messages)
        except Exception as error:
            if len(items) > 1 and status_of(error) in REFUSED:
                middle = len(items) // 2
                left = self._send(send, message, items[:middle])
                return left + self._send(send, message, items[middle:])
            if self._doubtful is not None and not _is_sure(error):
                self._doubtful.update(map(_sign, items))
            refused = self._refused(
                items[0].name, items[0].value, error, lambda: send(items=messages)
            )
            if refused:
                return refused
        self._taken.update(map(_sign, items))
        return []

    def _other(self, key: str, value: Any) -> list[Rejected]:
        def log() -> None:
            self._rest.log_experiment_other(self._settings.key, key, value)

        try:
            log()
        except Exception as error:
            return self._refused(key, value, error, log)
        return []

    def _tags(self, tags: list[str]) -> list[Rejected]:
        try:
            self._connection.add_tags(tags)
        except Exception as error:
            return self._refused("tags", tags, error, lambda: self._connection.add_tags(tags))
        return []

    def _asset(self, asset: Asset, again: Counter[Hashable]) -> list[Rejected]:
        if isinstance(asset.content, str) and not os.path.isfile(asset.content):
            return [(unescape(asset.name), asset.content, "the file is gone")]
        asset_id = asset.id(self._settings.key)
        if not self._skipped(asset_id, again):
            try:
                self._upload(asset, asset_id)
            except Exception as error:
                refused = self._refused_file(asset, asset_id, error)
                if refused:
                    return refused
            self._taken[asset_id] += 1
        return []

    def _refused_file(self, asset: Asset, asset_id: str, error: Exception) -> list[Rejected]:
        code, status = getattr(error, "sdk_error_code", None), status_of(error)
        if code in THERE:
            return []  # the answer to an earlier try was lost
        if code in TOO_MANY:
            said = f"Comet takes no more of these ({words_of(error)})"
            return [(unescape(asset.name), asset.content, said)]
        if status in NOT_LET_IN:
            self._require_experiment(error)
            raise error  # a key may be renewed, and what refuses files alone may pass
        return self._refused(
            asset.name, asset.content, error, lambda: self._upload(asset, asset_id)
        )

    def _refused(
        self, name: str, value: object, error: Exception, again: Callable[[], None]
    ) -> list[Rejected]:
        """What to say of an item that the server refuses for good; any other error is raised.

        It is tried once more: what refused it may have been about to pass.
        """
        status = status_of(error)
        if status in GONE:
            raise self._not_taken(error) from error
        if status not in REFUSED:
            raise error
        # An experiment that was deleted refuses everything: that is no fault of the items.
        self._require_experiment(error)
        if status not in TOO_LARGE:
            try:
                again()
            except Exception as second:
                if status_of(second) not in REFUSED:
                    raise
            else:
                return []
        # The text of the error may hold the value, and a value may be a secret.
        said = f"Comet refuses it (HTTP status {status})"
        if status in TOO_LARGE:
            said = too_large(_size(value), "Comet", status)
        return [(unescape(name), value, said)]

    def _require_experiment(self, refusal: Exception) -> None:
        """Return if the server takes the experiment, of which it has refused something."""
        try:
            self._connection.heartbeat()
        except Exception as error:
            if status_of(error) in (*REFUSED, *GONE):
                raise self._not_taken(error) from refusal
            raise

    def _not_taken(self, error: Exception) -> CometExperimentError:
        return CometExperimentError(
            f"tracker 'comet_ml': the server does not take experiment {self._settings.key!r} any more; "
            f"was it deleted? ({words_of(error)})"
        )

    def _without_those_there(self, points: list[Point]) -> list[Point]:
        """`points` without those in doubt that the server turns out to have."""
        doubtful = self._doubtful
        asked = [one for one in points if doubtful is None or _sign(one) in doubtful]
        if not asked:
            return points
        there = self._there(dict.fromkeys(one.name for one in asked))
        left: list[Point] = []
        for point in points:
            sign = _sign(point)
            if (doubtful is None or sign in doubtful) and there[_told(*point)] > 0:
                there[_told(*point)] -= 1
                self._taken[sign] += 1
            else:
                left.append(point)
        if doubtful is not None:
            doubtful.difference_update(map(_sign, asked))
        elif left:
            # Records come in their order: what follows one that is not there is not there either.
            self._doubtful = set()
        return left

    def _there(self, names: Collection[str]) -> Counter[Hashable]:
        """The points of these names that the server has."""
        key = self._settings.key
        try:
            if len(names) > NAMES_AT_ONCE:
                answers = [self._rest.get_all_experiment_metrics(key)]
            else:
                answers = [self._rest.get_experiment_metric(key, name) for name in names]
            return Counter(
                _told(
                    one["metricName"],
                    one["metricValue"],
                    one["step"],
                    one["epoch"],
                    one["timestamp"],
                )
                for answer in answers
                for one in answer["metrics"] or ()
            )
        except Exception as error:
            if fault_of(error) in ("server", "login"):
                raise
            return Counter()  # a server that has no such request: some may come twice

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
    for session in (once.session, once.retry_session):
        session.hooks["response"].append(refuse_strangers)
    root = comet_ml.utils.get_root_url(comet_ml.config.get_comet_url_override(config))
    rest = api.RestApiClient(root, "v2", once, settings.api_key, config, check_version=False)
    return connection, rest


def _chunks(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), AT_ONCE):
        yield items[start : start + AT_ONCE]


def _size(value: object) -> int:
    """Bytes of an asset, which is content or a file, or of anything else as a text."""
    with suppress(OSError):
        if isinstance(value, str) and os.path.isabs(value):
            return os.path.getsize(value)
    return len(value) if isinstance(value, bytes) else len(str(value).encode())


def _sign(item: Point | Parameter) -> Hashable:
    name, value, *rest = item
    return (type(item), name, repr(value), *rest)  # NaN differs from itself


def _told(name: str, value: object, step: Any, epoch: Any, time: Any) -> Hashable:
    """A point as both sides have it: the server gives numbers as texts."""
    try:
        number = float(value)  # type: ignore[arg-type]  # then it is no number
    except (TypeError, ValueError, OverflowError):
        return name, str(value), int(step or 0), int(time)
    return name, "nan" if math.isnan(number) else number, int(step or 0), int(time)


def _is_sure(error: Exception) -> bool:
    """Whether the server has surely not taken what was sent: it has said so, or nobody was there."""
    status = status_of(error)
    if status is not None:
        return status < 500
    return any(
        isinstance(cause, (ConnectionRefusedError, socket.gaierror)) for cause in causes(error)
    )
