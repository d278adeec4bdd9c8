"""What a W&B server has of a run, asked of itself.

W&B's service on this machine ends a run as if all had arrived, also where the server refused it or a
page of a proxy answered in its place. What counts is which rows the server gives back, by their
steps, and the number that it goes by when a run is resumed (``historyLineCount``).
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from tracking_core.faults import fault_of
from tracking_core.network import reason_of, remedy_of
from tracking_wandb.errors import (
    ADDRESS,
    WandBLoginError,
    WandBServiceError,
    WandBSettingError,
    heard,
)
from tracking_wandb.reach import proxy_of

__all__ = ["Remote", "see_to_answer"]

SECONDS = 10.0  # for an answer
# Where Go's library looks on Linux (crypto/x509); elsewhere it asks the system.
CERTIFICATES = (
    "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/ssl/cert.pem",
)  # fmt: skip
GOING_ON = frozenset({"running", "crashed"})  # the second where W&B's service fell silent
STEPS_OF_AN_ANSWER = 10_000
ROWS_OF_AN_ANSWER = 1000

_WHO = "query Viewer { viewer { id } }"
_COUNT = """query RunRows($entity: String, $project: String!, $run: String!) {
  model(name: $project, entityName: $entity) { bucket(name: $run, missingOk: true) {
    historyLineCount state
  } }
}"""
# As the public API asks for some values of rows, and for whole rows.
_SAMPLED = """query RunSampledHistory(
  $entity: String, $project: String!, $run: String!, $specs: [JSONString!]!
) {
  project(name: $project, entityName: $entity) { run(name: $run) {
    sampledHistory(specs: $specs)
  } }
}"""
_PAGE = """query HistoryPage(
  $entity: String, $project: String!, $run: String!,
  $minStep: Int64!, $maxStep: Int64!, $pageSize: Int!
) {
  project(name: $project, entityName: $entity) { run(name: $run) {
    history(minStep: $minStep, maxStep: $maxStep, samples: $pageSize)
  } }
}"""


class Remote:
    """A run at its server.

    Args:
        settings: W&B's, of the run or before it begins: where the server is, and who asks.
        run: its ``entity``, ``project`` and ``run_id``.
    """

    def __init__(self, settings: Any, run: Mapping[str, Any]) -> None:
        self.host: str = settings.base_url
        self._run = {
            "entity": run.get("entity") or None,
            "project": run.get("project"),
            "run": run["run_id"],
        }
        self._settings = settings

    def rows(self) -> int:
        """How many rows the server has of the run.

        Raises:
            WandBLoginError: it refuses the key.
            WandBServiceError: it can't be reached, or something else answers.
            WandBSettingError: it can't be reached before a setting is another one.
        """
        return int(self._bucket().get("historyLineCount") or 0)

    def goes_on(self) -> bool:
        """Whether the server has not heard how the run ended. Raises as `rows` does."""
        return self._bucket().get("state") in GOING_ON

    def _bucket(self) -> dict[str, Any]:
        return (self._ask(_COUNT).get("model") or {}).get("bucket") or {}

    def lacks(self, steps: Mapping[int, float]) -> set[int]:
        """Those of `steps` (of W&B's counting, each with its row's time) that the server has no row of.

        Rows that come late, with steps below others that the server has, get new ones there: W&B's
        service puts them behind those. They are known by their times.

        Raises:
            WandBLoginError, WandBServiceError, WandBSettingError: as `rows` does.
        """
        lacking = set(steps)
        for part in _parts(lacking, STEPS_OF_AN_ANSWER):
            found = self._sampled(["_step"], part[0], part[-1] + 1)
            lacking.difference_update(int(row["_step"]) for row in found)
        # A sample may leave something out: what is sent once more has to be missing for sure.
        for part in _parts(lacking, ROWS_OF_AN_ANSWER):
            found = self._page(part[0], part[-1] + 1)
            lacking.difference_update(int(row["_step"]) for row in found)
        return lacking and lacking - self._behind(
            max(steps) + 1, {one: steps[one] for one in lacking}
        )

    def _behind(self, first: int, steps: Mapping[int, float]) -> set[int]:
        """Those of `steps` whose times the server has rows of, from the step `first` on."""
        times: Counter[float] = Counter()
        for start in range(first, self.rows(), STEPS_OF_AN_ANSWER):
            found = self._sampled(["_step", "_timestamp"], start, start + STEPS_OF_AN_ANSWER)
            times.update(_rounded(row["_timestamp"]) for row in found if "_timestamp" in row)
        moved = set()
        for step, time in steps.items():
            if times[_rounded(time)] > 0:
                times[_rounded(time)] -= 1
                moved.add(step)
        return moved

    def _sampled(self, keys: list[str], first: int, stop: int) -> Iterator[dict[str, Any]]:
        """Those values of the server's rows from the step `first` to below `stop`."""
        spec = {"keys": keys, "samples": STEPS_OF_AN_ANSWER, "minStep": first, "maxStep": stop}
        found = self._ask(_SAMPLED, specs=[json.dumps(spec)])
        for rows in _run_of(found).get("sampledHistory") or ():
            yield from _rows_of(rows)

    def _page(self, first: int, stop: int) -> Iterator[dict[str, Any]]:
        """As `_sampled`, whole rows."""
        asked = {"minStep": first, "maxStep": stop, "pageSize": ROWS_OF_AN_ANSWER}
        yield from _rows_of(_run_of(self._ask(_PAGE, **asked)).get("history"))

    def _ask(self, query: str, **variables: object) -> dict[str, Any]:
        doing = "can't tell which rows have arrived"
        return _answer(self._settings, query, {**self._run, **variables}, doing)


def see_to_answer(settings: Any) -> None:
    """Return if the server answers as W&B's does, or if that is not sure.

    W&B's service tries for half a minute before it says what is wrong: as long as that, nobody would
    know.

    Raises:
        WandBLoginError: it refuses the key.
        WandBServiceError: it does not answer, fails, or is somebody else.
    """
    if not settings.api_key:
        return
    try:
        _answer(settings, _WHO, {}, "could not begin a run")
    except WandBSettingError:
        pass  # W&B's service may have other certificates and proxies
    except WandBServiceError as error:
        if error.__cause__ is None or fault_of(error.__cause__) == "server":
            raise  # else it may be the question that it does not like


def _answer(settings: Any, query: str, variables: dict[str, Any], doing: str) -> dict[str, Any]:
    """What W&B's API answers to `query`; `doing` says what for, in errors."""
    import requests

    host: str = settings.base_url
    proxy = proxy_of(host, settings.http_proxy, settings.https_proxy)
    try:
        with requests.Session() as session:
            session.trust_env = False  # it has other rules than W&B's service, which is in Go
            answer = session.post(
                f"{host}/graphql",
                json={"query": query, "variables": variables},
                auth=("api", settings.api_key),
                headers=settings.x_extra_http_headers,
                proxies={} if proxy is None else dict.fromkeys(("http", "https"), proxy),
                verify=not settings.insecure_disable_ssl and _trusted(),
                timeout=SECONDS,
            )
    except (requests.RequestException, OSError) as error:
        said = f"tracker 'wandb' {doing}: {host} does not answer"
        if remedy := remedy_of(error, ADDRESS, proxied=proxy is not None):
            raise WandBSettingError(f"{said}: {remedy} ({reason_of(error)})") from error
        raise WandBServiceError(f"{said} ({reason_of(error)})") from error
    try:
        content = answer.json()
    except ValueError:
        content = None
    if answer.ok and isinstance(content, dict) and isinstance(content.get("data"), dict):
        return dict(content["data"])
    refusal = heard(f"HTTP {answer.status_code}: {answer.text}", host, doing)
    if not isinstance(refusal, WandBLoginError):
        # A run that is not there is an answer; whatever else is refused may pass.
        refusal = WandBServiceError(str(refusal))
    # The answer may say when to come again.
    raise refusal from requests.HTTPError(answer.reason, response=answer)


def _trusted() -> str | bool:
    """The certificates that W&B's service goes by; or those that come with `requests`."""
    named = os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR")
    return named or next(filter(os.path.isfile, CERTIFICATES), True)


def _parts(steps: Collection[int], most: int) -> Iterator[list[int]]:
    wanted = sorted(steps)
    for start in range(0, len(wanted), most):
        yield wanted[start : start + most]


def _run_of(found: dict[str, Any]) -> dict[str, Any]:
    return (found.get("project") or {}).get("run") or {}


def _rows_of(rows: Iterable[Any] | None) -> Iterator[dict[str, Any]]:
    for row in rows or ():
        said = json.loads(row) if isinstance(row, str) else row
        if isinstance(said, dict) and isinstance(said.get("_step"), int):
            yield said


def _rounded(time: float) -> float:
    return round(time, 6)
