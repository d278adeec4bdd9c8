"""What people look at while a run goes on: ``dvc.yaml``, the report, DVC Studio, VS Code.

DVCLive makes all of it at every step, reading every file again. Here it is made for a batch, when
there is something new to show. Its failure costs no row.

Imports dvclive, so only `tracking_dvclive.run` imports this.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from tracking_dvclive import layout, native
from tracking_dvclive.batch import json_bytes, replace_file
from tracking_dvclive.layout import path_in
from tracking_dvclive.media import Plot
from tracking_dvclive.quiet import quiet
from tracking_dvclive.repository import alone_in_it, is_locked
from tracking_dvclive.studio import Studio

__all__ = ["Shown"]

TRIES_AT_THE_END = 5
SHARE_FOR_REPORTS = 0.05  # of the run's time: making one takes longer with every row


class Shown:
    """What DVC shows of a run.

    Args:
        live: the ``dvclive.Live``.
        directory: the run's, absolute.
        say: told once what went wrong.
        reject: told what DVC does not get.
    """

    def __init__(
        self,
        live: Any,
        directory: str,
        say: Callable[[str], None],
        reject: Callable[[str, object, str], None],
    ) -> None:
        self._live = live
        self._directory = directory
        self._say = say
        self._reject = reject
        self._tries_left = TRIES_AT_THE_END
        self._studio = Studio(live, directory, say)
        self._home = os.getcwd()
        self._artifacts: set[str] = set()
        self._report_after = 0.0
        self._is_new = True

    def metric(self, name: str) -> str:
        """The file of the metric `name`, which DVCLive now knows of.

        Raises:
            OSError: the disk is full or broken.
        """
        self._is_new |= not self._live._metrics
        path = path_in(self._directory, f"{layout.METRICS}/{name}.tsv")
        native.register_metric(self._live, name, path)
        return path

    def params(self) -> None:
        """There are new parameters."""
        self._is_new |= len(self._live._params) == 0

    def image(self, place: str, step: int) -> None:
        """There is a picture at `place`, from the run's directory."""
        self._is_new |= not self._live._images
        native.register_image(self._live, place.removeprefix(f"{layout.IMAGES}/"), step)

    def artifact(self, place: str) -> None:
        """There is a file at `place`; DVC gets it at the end."""
        self._artifacts.add(place.split("/")[1])

    def plot(self, name: str, plot: Plot | None) -> None:
        """The newest table or histogram of a key; all of them are in the index.

        Raises:
            OSError: the disk is full or broken.
        """
        if plot is None:
            return
        path = path_in(self._directory, f"{layout.PLOTS}/{name}.json")
        replace_file(path, json_bytes(plot.datapoints))
        self._is_new |= native.register_plot(
            self._live, name, x=plot.x, y=plot.y, template=plot.template, title=name
        )

    def refresh(self) -> None:
        """Show what was written since the last time."""
        self._careful(self._refresh_files)
        self._studio.post()

    def end(self) -> None:
        """``Live.end()``: the last of all this, and the DVC experiment.

        Raises:
            TimeoutError: git or DVC is busy with something else. It is to be tried again.
        """
        live = self._live
        self._tries_left -= 1
        self._in_the_repository("artifacts", self._cache_artifacts)
        self._report_after = 0.0
        with native.shadowed(
            live,
            make_summary=self._store_last_summary,
            make_dvcyaml=lambda: self._careful(self._make_dvcyaml),
            make_report=lambda: self._careful(self._make_report),
            save_dvc_exp=lambda: self._in_the_repository("DVC experiment", self._save_experiment),
            post_data_to_studio=self._studio.post,
            _wait_for_studio_updates_posted=self._studio.close,
        ):
            live.end()

    def _refresh_files(self) -> None:
        if os.getcwd() != self._home:
            return  # DVC looks for its files from there, and would make others here
        is_new, self._is_new = self._is_new, False
        if is_new and self._live._dvcyaml:
            self._make_dvcyaml()
        native.signal_step(self._live)
        self._make_report()

    def _store_last_summary(self) -> None:
        step = None if self._live._step is None else self._live.step
        native.store_summary(self._live, self._directory, step)

    def _make_dvcyaml(self) -> None:
        # DVC sets aside what is changed while it saves an experiment, and puts it back: what another
        # run writes meanwhile would be in its way, and the changes would stay in git's stash.
        with alone_in_it():
            native.make_dvcyaml(self._live)

    def _make_report(self) -> None:
        began = time.monotonic()
        if self._live._report_mode is not None and began > self._report_after:
            native.make_report(self._live)
            took = time.monotonic() - began
            self._report_after = began + took / SHARE_FOR_REPORTS

    def _cache_artifacts(self) -> None:
        """Give artifacts to DVC, as ``Live.log_artifact`` does: git is no place for models."""
        live = self._live
        if live._dvc_repo is None:
            if live._cache_images:
                live._cache_images = False  # it would raise
                self._say("cache_images needs a DVC repository: the images stay as they are")
        elif not live._inside_dvc_pipeline:
            for name in sorted(self._artifacts):
                live.cache(os.path.join(live.dir, layout.ARTIFACTS, name))

    def _save_experiment(self) -> None:
        with quiet() as heard:
            saved = native.save_experiment(self._live)
        if not saved:
            raise RuntimeError(" ".join(heard) or "DVC does not say why")

    def _in_the_repository(self, what: str, do: Callable[[], None]) -> None:
        """`do` what changes the repository. The run is whole without it, if that can't be done."""
        try:
            with alone_in_it():
                do()
        except Exception as error:
            words = f"{type(error).__name__}: {error}".rstrip(" :.")
            if is_locked(error) and self._tries_left > 0:
                raise TimeoutError(f"DVC can't save it for now: {words}") from error
            name = self._live._exp_name or ""
            remedy = "Once `git status` and `dvc status` are clean of that, `dvc exp save` does it"
            self._reject(what, name, f"DVC could not save it: {words}. {remedy}")

    def _careful(self, make: Callable[[], None]) -> None:
        try:
            make()
        except Exception as error:
            self._say(f"DVC's files for the screen could not be made: {error}")
