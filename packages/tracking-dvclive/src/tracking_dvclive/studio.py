"""New rows for DVC Studio, sent from a thread of its own so that no row waits for a server.

DVCLive reads every file again for each step, and keeps each answer waiting in a queue. Here only
what was appended since the last post is read, and at most one post is under way.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

from tracking_dvclive import layout
from tracking_dvclive.cells import plain, rows
from tracking_dvclive.layout import path_in
from tracking_dvclive.library import load_yaml, parse_json, post_to_studio
from tracking_dvclive.quiet import quiet

__all__ = ["Studio"]

SECONDS_AFTER_A_FAILURE = 30.0
SECONDS_AT_THE_END = 15.0


class Studio:
    """Posts the rows of a run while it goes on, if DVC Studio is configured.

    Args:
        live: the run.
        directory: the run's, absolute.
        say: told once what went wrong.
    """

    def __init__(self, live: Any, directory: str, say: Callable[[str], None]) -> None:
        self._live = live
        self._directory = directory
        self._say = say
        self._ends: dict[str, int] = {}
        self._images_sent = 0
        self._condition = threading.Condition()
        self._wanted = self._closing = False
        self._failed_at: float | None = None
        self._thread: threading.Thread | None = None

    @property
    def is_configured(self) -> bool:
        """Whether there is a token for it, and it took the beginning of this run."""
        return "data" not in self._live._studio_events_to_skip

    def post(self) -> None:
        """Post, soon, what has been written."""
        if not self.is_configured:
            return
        with self._condition:
            self._wanted = True
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="tracking-dvclive-studio", daemon=True
                )
                self._thread.start()
            self._condition.notify_all()

    def close(self) -> None:
        """Post what is left, for no longer than a deadline; the rest is on disk all the same."""
        if self._thread is None:
            return
        deadline = time.monotonic() + SECONDS_AT_THE_END
        with self._condition:
            self._wanted = self._closing = True
            self._condition.notify_all()
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if self._thread.is_alive() or self._failed_at is not None:
            self._live._studio_events_to_skip.update(("data", "done"))
            self._say("DVC Studio did not take the last rows; they are in the run's directory")

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._closing or self._may_post())
                self._wanted = False
                closing = self._closing
            with quiet() as heard:
                try:
                    sent = self._post_once()
                except Exception as error:  # a stranger's server must not cost the run anything
                    heard.append(f"posting to DVC Studio raised {type(error).__name__}")
                    sent = False
            self._failed_at = None if sent else time.monotonic()
            if not sent:
                self._say(f"DVC Studio does not take new rows for now: {' '.join(heard)}")
            if closing:
                return

    def _may_post(self) -> bool:
        rested = (
            self._failed_at is None or time.monotonic() > self._failed_at + SECONDS_AFTER_A_FAILURE
        )
        return self._wanted and rested

    def _post_once(self) -> bool:
        live = self._live
        ends: dict[str, int] = {}
        images = list(live._images.values())
        params = path_in(self._directory, layout.PARAMS_FILE)
        data = {
            "params": load_yaml(params) if os.path.isfile(params) else {},
            "plots": dict(self._new_rows(ends)),
            "plots_start_idx": dict(live._num_points_sent_to_studio),
            "metrics": parse_json(path_in(self._directory, layout.METRICS_FILE)),
            "images": images[self._images_sent :],
            "step": _Step(live.step),
        }
        live._latest_studio_step = -(2**63)  # ours are all new, whatever step they are of
        post_to_studio(live, "data", data)
        if live._latest_studio_step is not data["step"]:
            return False
        self._ends.update(ends)
        self._images_sent = len(images)
        return True

    def _new_rows(self, ends: dict[str, int]) -> Any:
        for name in list(self._live._metrics):
            path = path_in(self._directory, f"{layout.METRICS}/{name}.tsv")
            if not os.path.exists(path):
                continue
            with open(path, "rb") as file:
                file.seek(self._ends.get(path, 0))
                new = file.read()
            ends[path] = self._ends.get(path, 0) + len(new)
            # Studio takes numbers only, and the first other value would be the last post.
            found = [row for row in rows(new.decode("utf-8", "replace")) if len(row) > 1]
            column = name.rpartition("/")[2]
            points = [
                {"step": row[-2], column: row[-1]}
                for row in found
                if type(plain(row[-1])) in (int, float) and type(plain(row[-2])) is int
            ]
            if points:
                yield os.path.join(self._live.plots_dir, "metrics", f"{name}.tsv"), points


class _Step(int):
    """A step that is told from any other, to see whether it was taken."""
