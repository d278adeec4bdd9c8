"""Everything of dvclive and dvc that this package uses, its documented API and the rest.

Neither has types that a checker could rely on, so each name is taken as it is. Importing this
imports dvclive; call `tracking_dvclive.quiet.imported` before.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = [
    "CustomPlot", "Git", "Image", "Live", "Metric", "NumpyEncoder", "env2bool",
    "exp_refs_by_names", "get_yaml", "load_yaml", "mark_dvclive_step_completed", "modify_yaml",
    "parse_json", "post_to_studio", "rel_path",
]  # fmt: skip


def _taken(module: str, name: str) -> Any:
    return getattr(import_module(module), name)


Live = _taken("dvclive", "Live")
CustomPlot = _taken("dvclive.plots", "CustomPlot")
Image = _taken("dvclive.plots", "Image")
Metric = _taken("dvclive.plots", "Metric")
NumpyEncoder = _taken("dvclive.plots", "NumpyEncoder")
get_yaml = _taken("dvclive.serialize", "get_yaml")
load_yaml = _taken("dvclive.serialize", "load_yaml")
post_to_studio = _taken("dvclive.studio", "post_to_studio")
env2bool = _taken("dvclive.utils", "env2bool")
parse_json = _taken("dvclive.utils", "parse_json")
rel_path = _taken("dvclive.utils", "rel_path")
mark_dvclive_step_completed = _taken("dvclive.vscode", "mark_dvclive_step_completed")
Git = _taken("dvc.scm", "Git")
exp_refs_by_names = _taken("dvc.repo.experiments.utils", "exp_refs_by_names")
modify_yaml = _taken("dvc.utils.serialize", "modify_yaml")
