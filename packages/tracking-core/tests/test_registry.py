"""Names and classes, and what was asked for against what will run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tracking_core import (
    LOGGER_TYPE_TO_CLASS,
    GeneralTracker,
    InvalidTrackerError,
    LoggerType,
    MissingLoggingDirectoryError,
    TrackingWarning,
    UnknownTrackerError,
    filter_trackers,
    get_available_trackers,
    register_tracker_class,
)
from tracking_core.testing import MemoryTracker


class Shelf(MemoryTracker):
    name = "shelf"
    requires_logging_directory = True


class TestLoggerType:
    def test_names_are_those_of_accelerate(self) -> None:
        assert LoggerType.list() == [
            "all", "aim", "tensorboard", "wandb", "trackio", "comet_ml", "mlflow", "clearml",
            "dvclive", "swanlab",
        ]  # fmt: skip
        assert LoggerType.COMETML == "comet_ml"

    def test_a_member_is_its_name(self) -> None:
        assert str(LoggerType.WANDB) == "wandb"
        assert {"wandb": 1}[LoggerType.WANDB] == 1

    def test_membership_takes_strings_and_members(self) -> None:
        assert "wandb" in LoggerType
        assert LoggerType.WANDB in LoggerType
        assert "nobody" not in LoggerType
        assert 3 not in LoggerType


class TestRegister:
    def test_a_registered_class_is_found_by_its_name(self) -> None:
        assert register_tracker_class(MemoryTracker) is MemoryTracker
        assert LOGGER_TYPE_TO_CLASS["memory"] is MemoryTracker
        assert "memory" in get_available_trackers()
        assert filter_trackers("memory") == ["memory"]

    @pytest.mark.parametrize(
        ("attributes", "reason"),
        [
            ({"requires_logging_directory": False}, "has no `name`"),
            ({"name": "", "requires_logging_directory": False}, "has no `name`"),
            ({"name": "x"}, "has no `requires_logging_directory`"),
        ],
    )
    def test_an_incomplete_class_is_refused(self, attributes: dict[str, Any], reason: str) -> None:
        with pytest.raises(ValueError, match=reason):
            register_tracker_class(type("Incomplete", (GeneralTracker,), attributes))

    @pytest.mark.parametrize("stranger", [object, MemoryTracker(), "memory", None])
    def test_what_is_no_tracker_class_is_refused(self, stranger: Any) -> None:
        with pytest.raises(InvalidTrackerError, match="is no subclass of GeneralTracker"):
            register_tracker_class(stranger)

    def test_replacing_one_warns_with_its_name(self) -> None:
        register_tracker_class(MemoryTracker)
        with pytest.warns(UserWarning, match="'memory' is replaced"):
            register_tracker_class(type("Other", (MemoryTracker,), {}))


class TestFilter:
    def test_nothing_asked_for_is_nothing(self) -> None:
        assert filter_trackers(None) == []
        assert filter_trackers([]) == []

    def test_repeats_are_dropped(self) -> None:
        register_tracker_class(MemoryTracker)
        mine = MemoryTracker()
        assert filter_trackers(["memory", "memory"]) == ["memory"]
        assert filter_trackers([mine, mine, "memory"]) == [mine, "memory"]

    def test_an_unknown_name_is_an_error_that_helps(self) -> None:
        with pytest.raises(UnknownTrackerError) as caught:
            filter_trackers("wanbd")
        message = str(caught.value)
        assert "Did you mean 'wandb'?" in message
        assert "'aim'" in message and "'swanlab'" in message
        assert "pip install" not in message, "nobody shall install what a slip of the pen names"

    def test_a_name_like_no_other_may_be_another_projects(self) -> None:
        with pytest.raises(UnknownTrackerError) as caught:
            filter_trackers("neptune")
        message = str(caught.value)
        assert "'aim'" in message and "'swanlab'" in message
        assert "known once its package is installed here" in message
        with pytest.raises(UnknownTrackerError, match=r"capability: ''\. Choose between .*\]$"):
            filter_trackers("")

    def test_something_that_is_no_tracker_is_named(self) -> None:
        with pytest.raises(UnknownTrackerError, match="not 42"):
            filter_trackers([42])  # type: ignore[list-item]  # the point of the test
        with pytest.raises(UnknownTrackerError, match="MemoryTracker"):
            filter_trackers(MemoryTracker)  # type: ignore[arg-type]  # a class, not an instance

    @pytest.mark.parametrize("missing", ["name", "requires_logging_directory"])
    def test_an_instance_that_lacks_an_attribute_is_named(self, missing: str) -> None:
        given = {"name": "x", "requires_logging_directory": False}
        del given[missing]

        def quietly(self: GeneralTracker) -> None:
            """Does not call the base class, as trackers in the wild don't."""

        tracker = type("Incomplete", (GeneralTracker,), {**given, "__init__": quietly})()
        with pytest.raises(InvalidTrackerError, match=f"Incomplete has no `{missing}`"):
            filter_trackers([tracker])

    def test_one_that_is_not_installed_is_left_out_and_said(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tracking_core.registry._installed", dict)  # none of them is
        missing = r"'comet_ml' is not installed.*pip install .*packages/tracking-comet-ml"
        with pytest.warns(TrackingWarning, match=missing):
            assert filter_trackers("comet_ml") == []

    def test_a_missing_directory_is_an_error(self, tmp_path: Path) -> None:
        register_tracker_class(Shelf)
        with pytest.raises(MissingLoggingDirectoryError) as caught:
            filter_trackers("shelf")
        assert str(caught.value) == "Logging with `shelf` requires a `logging_dir` to be passed in."
        assert isinstance(caught.value, ValueError)
        assert filter_trackers("shelf", tmp_path) == ["shelf"]

    def test_all_is_the_instances_and_everything_available(self, tmp_path: Path) -> None:
        register_tracker_class(MemoryTracker)
        mine = Shelf()
        chosen = filter_trackers(["all", mine], tmp_path)
        assert chosen[0] is mine
        assert chosen[1:] == get_available_trackers()
        assert filter_trackers(LoggerType.ALL, tmp_path) == get_available_trackers()

    def test_all_without_a_directory_says_which_tracker_needs_one(self) -> None:
        register_tracker_class(Shelf)
        with pytest.raises(MissingLoggingDirectoryError):
            filter_trackers("all")


PLUGIN = """
from tracking_core.testing.trackers import MemoryTracker
class Good(MemoryTracker): name = "good"
class Misnamed(MemoryTracker): name = "other"
class NoTracker: pass
"""


class TestEntryPoints:
    """Installed packages, with a real distribution on the path of a new interpreter."""

    @pytest.fixture
    def site(self, tmp_path: Path) -> Path:
        (tmp_path / "plugin.py").write_text(PLUGIN)
        (tmp_path / "broken.py").write_text("raise RuntimeError('no such GPU')")
        information = tmp_path / "tracking_plugin-1.0.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: tracking-plugin\nVersion: 1.0\n"
        )
        (information / "entry_points.txt").write_text(
            "[tracking.trackers]\n"
            "good = plugin:Good\n"
            "absent = plugin:Absent\n"
            "broken = broken:Tracker\n"
            "misnamed = plugin:Misnamed\n"
            "notracker = plugin:NoTracker\n"
        )
        return tmp_path

    def run(self, site: Path, program: str) -> str:
        done = subprocess.run(
            [
                sys.executable,
                "-W",
                "always",
                "-c",
                f"import sys; sys.path.insert(0, {str(site)!r})\n{program}",
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout + done.stderr

    def test_an_installed_tracker_is_known_and_imported_late(self, site: Path) -> None:
        said = self.run(
            site,
            "import tracking_core as t\n"
            "print('good' in t.get_available_trackers(), 'plugin' in sys.modules)\n"
            "print(t.filter_trackers('good'), t.LOGGER_TYPE_TO_CLASS['good'].__module__)\n",
        )
        assert said.splitlines() == ["True False", "['good'] plugin"]

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("absent", "AttributeError"),
            ("broken", "RuntimeError: no such GPU"),
            ("misnamed", "calls itself 'other'"),
            ("notracker", "is no subclass of GeneralTracker"),
        ],
    )
    def test_a_broken_package_is_named(self, site: Path, name: str, reason: str) -> None:
        said = self.run(
            site,
            "import tracking_core as t\n"
            f"try: t.filter_trackers({name!r})\n"
            "except t.InvalidTrackerError as error: print(error)\n",
        )
        assert f"tracker '{name}' of the package 'tracking-plugin' can't be loaded" in said
        assert reason in said

    def test_broken_packages_leave_the_others_in_all(self, site: Path) -> None:
        said = self.run(
            site,
            "import tracking_core as t\n"
            "chosen = t.filter_trackers('all', '/tmp')\n"
            "print('good' in chosen, 'broken' in chosen)\n",
        )
        assert "True False" in said
        assert "left out of 'all': tracker 'broken'" in said
