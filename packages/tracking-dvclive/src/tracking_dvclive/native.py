"""DVCLive's own object: made, and shown what this package wrote into its directory.

Imports dvclive, so only `DVCLiveTracker.start` imports this.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

from tracking_core.locks import only_one
from tracking_core.records import Plain
from tracking_dvclive import layout
from tracking_dvclive.batch import replace_file
from tracking_dvclive.history import header, line, made_fit, milliseconds
from tracking_dvclive.library import (
    CustomPlot,
    Image,
    Metric,
    NumpyEncoder,
    env2bool,
    get_yaml,
    load_yaml,
    mark_dvclive_step_completed,
    modify_yaml,
    rel_path,
)

__all__ = [
    "make_dvcyaml", "make_report", "register_existing", "register_image",
    "register_metric", "register_plot", "resumes", "save_experiment", "shadowed", "signal_step", "store_params",
    "store_summary", "summarised",
]  # fmt: skip


def resumes(kwargs: Mapping[str, Any]) -> bool:
    """Whether a ``Live`` made with `kwargs` goes on with the run that lies in its directory."""
    return bool(kwargs.get("resume")) or env2bool("DVCLIVE_RESUME")


# --- what DVC's own commands and the report read ---


def store_params(live: Any, directory: str, values: Mapping[str, Any]) -> None:
    """``Live.log_params``, but a death in the middle of it costs no earlier parameter.

    Args:
        directory: the run's, absolute: `live` looks for its files from the working directory.

    Raises:
        OSError: the disk is full or broken.
    """
    merged = {**live._params, **values}
    yaml = get_yaml()
    # The characters that YAML takes for the end of a line come back as spaces unless escaped.
    yaml.allow_unicode = not _holds_any(merged, "\x85\u2028\u2029\ufeff")
    text = BytesIO()
    yaml.dump(merged, text)
    replace_file(layout.path_in(directory, layout.PARAMS_FILE), text.getvalue())
    live._params.update(values)


def store_summary(live: Any, directory: str, step: int | None) -> None:
    """``Live.make_summary``, but a death in the middle of it leaves the summary before.

    Args:
        directory: as in `store_params`.
        step: the newest one; None leaves the one that is there.

    Raises:
        OSError: the disk is full or broken.
    """
    if step is not None:
        live.summary["step"] = step
    text = json.dumps(live.summary, indent=4, cls=NumpyEncoder) + "\n"
    replace_file(layout.path_in(directory, layout.METRICS_FILE), text.encode())


def summarised(summary: dict[str, Any], name: str, value: Plain) -> None:
    """Put the newest value of a metric into `summary`, in folders as its name has them.

    A metric that has others below it keeps its place, and they lie beside it under whole names.
    """
    *folders, leaf = name.split("/")
    place = summary
    for folder in folders:
        inner = place.setdefault(folder, {})
        if not isinstance(inner, dict):
            summary[name] = value
            return
        place = inner
    if isinstance(place.get(leaf), dict):
        summary[f"{name}/"] = value
    else:
        place[leaf] = value


class _TimedMetric(Metric):  # type: ignore[misc]  # dvclive has no types
    """What ``live.log_metric`` writes with, so that its rows fit into our files."""

    def dump(self, val: Any, **kwargs: object) -> None:
        plain = val.item() if hasattr(val, "item") else val
        if isinstance(plain, str) and plain.lstrip("-") in ("nan", "inf"):
            plain = float(plain)
        path = self.output_path
        top = "" if path.exists() else header(str(self.name))
        with open(path, "a", encoding="utf-8", newline="") as file:
            file.write(top + line(milliseconds(time.time()), self.step, plain))


def register_metric(live: Any, name: str, path: str) -> None:
    """Make the file of a metric one that this package and ``live.log_metric`` can both append to.

    Raises:
        OSError: the disk is full or broken.
    """
    if os.path.exists(path):
        made_fit(path, name)
    live._metrics[name] = _TimedMetric(name, live.plots_dir)


class _NamedImage(Image):  # type: ignore[misc]  # dvclive has no types
    """A picture whose path is a text: outside a DVC repository Studio's client takes no other."""

    @property
    def output_path(self) -> str:
        return os.path.join(self.output_folder, self.name)


def register_image(live: Any, name: str, step: int) -> None:
    """Let `live` know of a picture: the file ``plots/images/<name>``."""
    image = live._images[name] = _NamedImage(name, live.plots_dir)
    image.step = step


def register_plot(
    live: Any, name: str, *, x: str, y: str | list[str], template: str, title: str
) -> bool:
    """Let `live` know of the file ``plots/custom/<name>.json``; whether that is news."""
    known = live._plots.get(name)
    plot = CustomPlot(name, live.plots_dir, x=x, y=y, template=template, title=title)
    live._plots[plot.name] = plot
    return known is None or getattr(known, "plot_config", None) != plot.plot_config


def register_existing(live: Any) -> None:
    """Let a `live` that was resumed know of the pictures and plots that are there.

    It leaves out of ``dvc.yaml``, and can't make a report of, what it does not know of.
    """
    images = os.path.join(live.plots_dir, Image.subfolder)
    for folder, _, names in os.walk(images):
        if names and not live._images:
            path = os.path.join(folder, names[0])
            register_image(live, os.path.relpath(path, images).replace(os.sep, "/"), -1)
    try:
        found = load_yaml(live.dvc_file).get("plots", [])
    except Exception:  # there is none, or it is none
        return
    folder = Path(live.dvc_file).parent.absolute().as_posix()
    plots = rel_path(os.path.join(live.plots_dir, CustomPlot.subfolder), folder) + "/"
    for entry in found:
        for path, about in entry.items() if isinstance(entry, dict) else ():
            name = path.removeprefix(plots).removesuffix(".json")
            is_here = os.path.exists(
                os.path.join(live.plots_dir, CustomPlot.subfolder, f"{name}.json")
            )
            if path.startswith(plots) and {"x", "y"} <= about.keys() and is_here:
                plot = CustomPlot(name, live.plots_dir, **{"template": None, **about})
                live._plots.setdefault(plot.name, plot)


def make_dvcyaml(live: Any) -> None:
    """``Live.make_dvcyaml``, with our notes among the parameters.

    Runs that write into one file at once would lose each other's entries.

    Args:
        live: one whose ``dvcyaml`` is not None or False.

    Raises:
        StoreBusyError: another run writes it, and does not come to an end.
    """
    with only_one(live.dvc_file):
        type(live).make_dvcyaml(live)  # the class's own, also while it is shadowed
        if os.path.exists(live.dvc_file):
            folder = Path(live.dvc_file).parent.absolute().as_posix()
            notes = rel_path(layout.path_in(live.dir, layout.SHOWN_NOTES), folder)
            with modify_yaml(live.dvc_file) as content:
                content["params"] = [*content.get("params", []), notes]


def make_report(live: Any) -> None:
    """``Live.make_report``."""
    type(live).make_report(live)


def signal_step(live: Any) -> None:
    """Tell DVC's extension for VS Code, in a DVC repository, that there are new rows."""
    if live._dvc_repo is not None or live._inside_dvc_pipeline:
        mark_dvclive_step_completed(live.summary.get("step", 0))


def save_experiment(live: Any) -> bool:
    """``Live.save_dvc_exp``; whether the experiment is saved, or none was to be."""
    if not live._save_dvc_exp:
        return True
    live._experiment_rev = None
    type(live).save_dvc_exp(live)  # it takes an error of DVC's for a mishap
    return live._experiment_rev is not None


@contextmanager
def shadowed(live: Any, **methods: Any) -> Iterator[None]:
    """Within it, calls of these methods of `live`, its own ones too, are calls of `methods`."""
    vars(live).update(methods)
    try:
        yield
    finally:
        for name in methods:
            vars(live).pop(name, None)


def _holds_any(value: object, characters: str) -> bool:
    if isinstance(value, str):
        return not value.isascii() and any(one in value for one in characters)
    if isinstance(value, Mapping):
        return any(
            _holds_any(key, characters) or _holds_any(one, characters) for key, one in value.items()
        )
    if isinstance(value, Sequence):
        return any(_holds_any(one, characters) for one in value)
    return False
