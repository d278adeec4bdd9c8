"""Runs on a Trackio server, or in a Space, through Trackio's HTTP interface.

Trackio's own runs send from a thread of their own, and keep here, for good, what a server did not
take. Here every request is answered before it returns, or raises within a deadline: sending it again
is the delivery lane's business.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from tracking_core.network import proxy_for, reason_of, remedy_of
from tracking_trackio.settings import ADDRESS, TrackioSettingError, Where
from tracking_trackio.store import Row, RunId, TooLargeError, TrackioPageError, TrackioServerError

__all__ = ["ServerStore"]

CONNECT = 10.0  # seconds
ANSWER = 20.0  # Trackio waits for its database's lock for 10
TRANSFER = 50.0  # between two pieces of a file: less than a delivery lane waits for a call
# A server closes a connection that was idle for 5: what is sent at that moment would fail.
IDLE = 2.0
FILES_AT_ONCE = 100  # a server takes 1000 in one request


class _Medium(NamedTuple):
    data: bytes
    upload: dict[str, Any]


class ServerStore:
    """Writes to and reads from the server, or the Space, that `where` says.

    Media waits until the rows that name it are stored, and goes in one request before them.
    """

    def __init__(self, where: Where) -> None:
        import httpx

        self.place: Mapping[str, str] = where.named
        self._name = " ".join(self.place.values())
        self._space_id = where.space_id
        self._hf_token = where.hf_token
        self._media: dict[str, _Medium] = {}
        self._files_at_once = FILES_AT_ONCE
        self._media_dir: str | None = None
        headers = {"X-Trackio-Write-Token": where.write_token or ""}
        if where.hf_token:
            headers = {"Authorization": f"Bearer {where.hf_token}"}
        self._http = httpx.Client(
            base_url=where.url,
            headers=headers,
            timeout=httpx.Timeout(ANSWER, connect=min(CONNECT, ANSWER)),
            limits=httpx.Limits(keepalive_expiry=IDLE),
        )
        self._check()

    def _check(self) -> None:
        try:
            response = self._request("GET", "version")
            try:
                known = "api_version" in response.json()
            except (ValueError, TypeError):
                known = False
            if response.status_code == 200 and known:
                return
            self._refuse_page(response)
            said = (
                f"{self._name} is no Trackio server: it answers {response.status_code} for /version"
            )
            if self._space_id:
                said += f"; make it once: trackio.init('...', space_id={self._space_id!r})"
            if response.status_code == 200:
                raise TrackioSettingError(f"tracker 'trackio': {said}; see to {ADDRESS}")
            raise TrackioServerError(said, response.status_code, response.headers)
        except BaseException:
            self.close()
            raise

    # --- the store ---

    def has(self, project: str) -> bool:
        return project in self._ask("get_all_projects")

    def query(self, project: str, sql: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._ask("query_project", project=project, query=sql)["rows"]
        return rows

    def append(self, run: RunId, rows: Sequence[Row], config: Mapping[str, Any] | None) -> None:
        """One request. A server has no place for a row's wall time, so it is a column."""
        first = {"project": run.project, "run": run.name, "run_id": run.id}
        logs: list[dict[str, Any]] = [
            {
                **first,
                "metrics": {**row.metrics, "time": row.wall_time} if row.metrics else {},
                "step": row.step,
                "log_id": row.log_id,
                "config": None,
            }
            for row in rows
        ]
        logs[0]["config"] = config
        try:
            self._ask("bulk_log", logs=logs, hf_token=self._hf_token)
        except TrackioServerError as error:
            if error.status_code != 413:
                raise
            sizes = {
                name: len(json.dumps(value)) for row in rows for name, value in row.metrics.items()
            }
            if config is not None:
                sizes["the configuration"] = len(json.dumps(config))
            largest = max(sizes, key=lambda name: sizes[name], default="nothing")
            what = f"{len(rows)} rows, of which the largest part is {largest!r}"
            raise TooLargeError(self._name, what, sizes.get(largest, 0)) from error

    def keep_medium(self, run: RunId, step: int, name: str, data: bytes) -> str:
        path = f"{run.project}/{run.name}/{step}/{name}"
        upload = {"project": run.project, "run": run.name, "run_id": run.id, "step": step}
        self._media[path] = _Medium(data, {**upload, "relative_path": None})
        return path

    def send_media(self) -> Mapping[str, str]:
        """As few requests as it takes; a file that is refused costs only itself."""
        refused: dict[str, str] = {}
        while self._media:
            paths = list(itertools.islice(self._media, self._files_at_once))
            files = [(os.path.basename(path), self._media[path].data) for path in paths]
            uploads = [dict(self._media[path].upload) for path in paths]
            try:
                self._upload("bulk_upload_media", uploads, files, hf_token=self._hf_token)
            except TooLargeError as error:
                if len(paths) > 1:
                    self._files_at_once = len(paths) // 2
                    continue
                refused[paths[0]] = str(error)
            for path in paths:
                del self._media[path]
        return refused

    def forget_media(self) -> None:
        self._media.clear()

    def keep_files(self, run: RunId, artifact: str, type: str, files: Mapping[str, str]) -> int:
        from trackio import cas

        manifest = []
        sources = {}
        for path, source in files.items():
            content, size = cas.hash_file(Path(source))
            manifest.append({"path": path, "digest": content, "size": size})
            sources[str(content)] = source
        whose = {"project": run.project, "hf_token": self._hf_token}
        there = self._ask("check_artifact_blobs", digests=list(sources), **whose)["present"]
        for digest in sources.keys() - set(there):
            with open(sources[digest], "rb") as file:
                uploads = [{"project": run.project, "digest": digest}]
                self._upload("bulk_upload_artifact_blob", uploads, [(digest, file)], **whose)
        record = self._ask(
            "artifact_log",
            name=artifact,
            type=type,
            description=None,
            metadata=None,
            manifest=manifest,
            aliases=[],
            run_name=run.name,
            run_id=run.id,
            **whose,
        )
        return int(record["version"])

    def medium(self, file_path: str) -> bytes | None:
        if self._media_dir is None:
            self._media_dir = self._ask("get_settings")["media_dir"]
        path = f"{self._media_dir}/{file_path}"
        response = self._request("GET", "file", params={"path": path})
        return bytes(response.content) if response.status_code == 200 else None

    def blob(self, project: str, digest: str, target: Path) -> None:
        response = self._request("GET", f"artifact_blob/{project}/{digest}")
        if response.status_code != 200:
            raise FileNotFoundError(f"{self._name} has no content for an artifact: {digest}")
        target.write_bytes(response.content)

    def close(self) -> None:
        self._http.close()

    # --- requests ---

    def _upload(
        self,
        api_name: str,
        uploads: list[dict[str, Any]],
        files: Sequence[tuple[str, bytes | IO[bytes]]],
        **arguments: Any,
    ) -> None:
        """Send `files`, then say by `uploads`, one for each, what they are."""
        import httpx

        patient = httpx.Timeout(TRANSFER, connect=min(CONNECT, TRANSFER))
        multipart = [("files", file) for file in files]
        sent = self._request("POST", "api/upload", files=multipart, timeout=patient)
        if sent.status_code == 413:
            names = ", ".join(name for name, _ in files[:3])
            raise TooLargeError(self._name, names, sum(_size(content) for _, content in files))
        for upload, (name, _), path in zip(uploads, files, self._said(sent, "paths"), strict=True):
            kind = {"_type": "gradio.FileData"}
            upload["uploaded_file"] = {"path": path, "orig_name": name, "meta": kind}
        self._ask(api_name, uploads=uploads, timeout=patient, **arguments)

    def _ask(self, api_name: str, **arguments: Any) -> Any:
        timeout = {"timeout": arguments.pop("timeout")} if "timeout" in arguments else {}
        body = {"args": [], "kwargs": arguments}
        return self._said(self._request("POST", f"api/{api_name}", json=body, **timeout), "data")

    def _request(self, method: str, path: str, **options: Any) -> Any:
        import httpx

        try:
            return self._http.request(method, path, **options)
        except httpx.TimeoutException as error:
            raise TimeoutError(f"tracker 'trackio': {self._name} does not answer") from error
        except (httpx.RequestError, httpx.InvalidURL, UnicodeError) as error:
            url = str(self._http.base_url)
            chosen, proxied = self._space_id is None, proxy_for(url) is not None
            remedy = remedy_of(error, ADDRESS, chosen=chosen, proxied=proxied)
            if remedy:
                raise TrackioSettingError(
                    f"tracker 'trackio' can't reach {self._name}: {remedy} ({reason_of(error)})"
                ) from error
            said = f"{type(error).__name__}: {error}"
            raise ConnectionError(
                f"tracker 'trackio' finds no Trackio server at {self._name}: {said}"
            ) from error

    def _said(self, response: Any, member: str) -> Any:
        """A member of the body of an answer.

        Raises:
            TrackioServerError: the server says no.
            ConnectionError: it is no answer of a Trackio server.
        """
        self._refuse_page(response)
        try:
            body = response.json()
        except ValueError:
            body = None
        answer: dict[str, Any] = body if isinstance(body, dict) else {}
        if response.status_code == 200:
            if member in answer:
                return answer[member]
            raise ConnectionError(
                f"tracker 'trackio': {self._name} does not answer as a Trackio server does"
            )
        said = str(answer.get("error") or response.text[:200])
        # It says 400 for a wrong token, which is no fault of the rows.
        status = 401 if "write_token" in said else response.status_code
        raise TrackioServerError(f"{self._name}: {said} ({status})", status, response.headers)

    def _refuse_page(self, response: Any) -> None:
        """A page for people is no answer of a Trackio server, whatever its status.

        Raises:
            TrackioPageError: it is one.
        """
        kind = response.headers.get("Content-Type", "").lower()
        # 401 and 407 are a login's, 413 a proxy's about what was sent.
        if "text/html" in kind and response.status_code not in (401, 407, 413):
            error = TrackioPageError(
                f"tracker 'trackio': {self._name} answers with a page for people (HTTP {response.status_code}): is a "
                f"login page of the network in between, or does {ADDRESS} name something else?"
            )
            error.headers = response.headers
            raise error


def _size(content: bytes | IO[bytes]) -> int:
    return len(content) if isinstance(content, bytes) else os.fstat(content.fileno()).st_size
