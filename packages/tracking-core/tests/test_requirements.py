"""Packages that do not fit what is installed beside them, or each other, laid out as pip does it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import distribution
from pathlib import Path

import msgspec
import pytest

import tracking_core
from tracking_core import (
    LOGGER_TYPE_TO_CLASS,
    InvalidTrackerError,
    Tracking,
    TrackingWarning,
    filter_trackers,
    get_available_trackers,
)
from tracking_core.requirements import unmet_requirements

MODULE = """
from tracking_core import GeneralTracker

class Tracker(GeneralTracker):
    name = {name!r}
    requires_logging_directory = False
    tracker = None
    package = __name__

    def log(self, values, step=None):
        pass
"""


class Site:
    """A directory on the path that packages are installed into."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.modules: list[str] = []

    def install(
        self,
        package: str,
        version: str = "1.0",
        *,
        requires: tuple[str, ...] = (),
        entry_points: str | None = None,
        metadata: bool = True,
    ) -> None:
        module = package.replace("-", "_")
        information = self.root / f"{module}-{version}.dist-info"
        information.mkdir()
        if metadata:
            lines = ["Metadata-Version: 2.1", f"Name: {package}", f"Version: {version}"]
            lines += [f"Requires-Dist: {one}" for one in requires]
            (information / "METADATA").write_text("\n".join(lines) + "\n")
        if entry_points is not None:
            text = f"[tracking.trackers]\n{entry_points}\n"
            (information / "entry_points.txt").write_text(text)

    def tracker(
        self, package: str, *requires: str, name: str = "shelf", metadata: bool = True
    ) -> None:
        """A package that brings a tracker which works."""
        module = package.replace("-", "_")
        self.modules.append(module)
        (self.root / f"{module}.py").write_text(MODULE.format(name=name))
        points = f"{name} = {module}:Tracker"
        self.install(package, requires=requires, entry_points=points, metadata=metadata)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(LOGGER_TYPE_TO_CLASS._loaded)
    site = Site(tmp_path)
    yield site
    for name in set(LOGGER_TYPE_TO_CLASS._loaded) - before:
        del LOGGER_TYPE_TO_CLASS._loaded[name]
    for module in site.modules:
        sys.modules.pop(module, None)


class TestTheCore:
    @pytest.mark.parametrize("needs", ["tracking-core>=99", "Tracking.Core<0.0.1"])
    def test_a_package_for_another_version_of_it_is_an_error_that_says_all(
        self, site: Site, needs: str
    ) -> None:
        site.tracker("tracking-shelf", needs)
        for ask in (filter_trackers, Tracking):
            with pytest.raises(InvalidTrackerError) as caught:
                ask("shelf")
            assert str(caught.value) == (
                "tracker 'shelf' of the package 'tracking-shelf' can't be loaded: tracking-shelf 1.0 "
                f"needs {needs}, and {tracking_core.__version__} is installed: "
                "pip install -U tracking-shelf"
            )

    def test_its_code_is_not_run(self, site: Site) -> None:
        site.tracker("tracking-shelf", "tracking-core>=99")
        (site.root / "tracking_shelf.py").write_text("raise SystemExit('this is for tomorrow')")
        with pytest.raises(InvalidTrackerError, match="needs tracking-core>=99"):
            filter_trackers("shelf")

    @pytest.mark.filterwarnings("error")
    def test_others_go_on_working(self, site: Site) -> None:
        site.tracker("tracking-shelf", "tracking-core>=99")
        site.tracker("tracking-desk", f"tracking-core=={tracking_core.__version__}", name="desk")
        assert {"shelf", "desk"} <= set(get_available_trackers())
        assert filter_trackers("desk") == ["desk"]
        with Tracking("desk", site.root, delivery="inline") as tracking:
            tracking.init_trackers("project")
            assert [tracker.name for tracker in tracking.trackers] == ["desk"]

    def test_all_is_all_but_that_one(self, site: Site) -> None:
        site.tracker("tracking-shelf", "tracking-core>=99")
        site.tracker("tracking-desk", name="desk")
        left_out = "left out of 'all': tracker 'shelf' of the package 'tracking-shelf'"
        with pytest.warns(TrackingWarning, match=left_out):
            chosen = filter_trackers("all", site.root)
        assert "desk" in chosen
        assert "shelf" not in chosen


class TestTheLibrary:
    @pytest.mark.parametrize(
        ("installed", "found"),
        [("0.20.0", "and 0.20.0 is installed"), (None, "and it is not installed")],
    )
    def test_one_warning_says_what_is_wrong_and_the_tracker_is_tried(
        self, site: Site, installed: str | None, found: str
    ) -> None:
        if installed:
            site.install("shelflib", installed)
        site.tracker("tracking-shelf", "shelflib[web]>=0.31", "packaging")
        with pytest.warns(TrackingWarning) as said:
            assert filter_trackers(["shelf", "shelf"]) == ["shelf"]
            assert filter_trackers("shelf") == ["shelf"]
        (warning,) = said
        assert str(warning.message) == (
            "tracker 'shelf' of the package 'tracking-shelf' may not work: tracking-shelf 1.0 needs "
            f"shelflib[web]>=0.31, {found}: pip install -U tracking-shelf"
        )
        assert warning.filename == __file__

    def test_everything_that_is_unmet_is_in_it(self, site: Site) -> None:
        site.install("old", "1.0")
        site.tracker("tracking-shelf", "old>=2", "missing<3", "packaging")
        with pytest.warns(
            TrackingWarning, match=r"needs old>=2, .*1\.0 .*; .*needs missing<3, .*not installed"
        ) as said:
            filter_trackers("shelf")
        assert len(said) == 1

    @pytest.mark.filterwarnings("error")
    @pytest.mark.parametrize(
        "requires",
        [
            "shelflib>=1",
            "Shelf.Lib>=1; python_version >= '3'",
            "shelflib",
            "shelflib>=1.9",  # 2.0rc1 is newer, and was installed on purpose
            "absent; python_version < '3'",
            "absent>=1; extra == 'web'",
            "shelf lib is the best",  # nobody knows what is meant
            "nameless>=1",
        ],
    )
    def test_nothing_is_said_where_nothing_is_wrong(self, site: Site, requires: str) -> None:
        site.install("shelflib", "2.0rc1")
        site.install("shelf-lib", "2.0rc1")
        site.install("nameless", metadata=False)  # what an interrupted uninstallation leaves
        site.tracker("tracking-shelf", requires)
        assert filter_trackers("shelf") == ["shelf"]

    @pytest.mark.filterwarnings("error")
    def test_a_package_without_metadata_is_taken_as_it_is(self, site: Site) -> None:
        site.tracker("tracking-shelf", metadata=False)
        assert filter_trackers("shelf") == ["shelf"]

    def test_what_is_installed_here_meets_what_it_needs(self) -> None:
        # The core itself, as it was installed for this test, and what pytest needs.
        for package in ("tracking-core", "pytest"):
            assert unmet_requirements(distribution(package)) == []


class TestTwoPackagesWithOneName:
    @pytest.mark.parametrize("order", [["a-shelf", "z-shelf"], ["z-shelf", "a-shelf"]])
    def test_the_first_of_the_alphabet_is_used_and_both_are_named(
        self, site: Site, order: list[str]
    ) -> None:
        for package in order:
            site.tracker(package)
        with pytest.warns(TrackingWarning) as said:
            assert filter_trackers("shelf") == ["shelf"]
        (warning,) = said
        assert str(warning.message) == (
            "tracker 'shelf' is brought by more than one package: 'a-shelf' is used, 'z-shelf' not. "
            "Uninstall what you don't want"
        )
        assert LOGGER_TYPE_TO_CLASS["shelf"].__module__ == "a_shelf"
        assert get_available_trackers().count("shelf") == 1

    def test_the_one_that_is_called_like_the_tracker_comes_first(self, site: Site) -> None:
        for package in ("a-shelf", "tracking-shelf", "another"):
            site.tracker(package)
        both = "'tracking-shelf' is used, 'a-shelf' and 'another' not"
        with pytest.warns(TrackingWarning, match=both):
            filter_trackers("shelf")
        assert LOGGER_TYPE_TO_CLASS["shelf"].__module__ == "tracking_shelf"

    @pytest.mark.filterwarnings("error")
    def test_one_package_in_two_places_is_one(
        self, site: Site, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site.tracker("Tracking_Shelf")
        other = Site(tmp_path_factory.mktemp("site"))
        other.tracker("tracking-shelf")
        monkeypatch.syspath_prepend(str(other.root))
        assert filter_trackers("shelf") == ["shelf"]


class TestUnreadableEntryPoints:
    @pytest.mark.parametrize("value", ["tracking_shelf.Tracker", "tracking shelf:Tracker", ""])
    def test_a_value_that_names_no_class_is_shown(self, site: Site, value: str) -> None:
        site.tracker("tracking-desk", name="desk")
        site.install("tracking-shelf", entry_points=f"shelf = {value}")
        with pytest.raises(InvalidTrackerError) as caught:
            filter_trackers("shelf")
        assert str(caught.value) == (
            "tracker 'shelf' of the package 'tracking-shelf' can't be loaded: its entry point is "
            f"{value!r}, which has not the form 'package.module:Class'"
        )
        with pytest.warns(TrackingWarning, match="left out of 'all': tracker 'shelf'"):
            assert "desk" in filter_trackers("all", site.root)

    def test_a_file_that_can_not_be_parsed_costs_its_own_trackers(self, site: Site) -> None:
        site.tracker("tracking-desk", name="desk")
        site.install("tracking-shelf", entry_points="shelf: tracking_shelf:Tracker")
        with pytest.warns(TrackingWarning) as said:
            assert filter_trackers("desk") == ["desk"]
            assert "desk" in filter_trackers("all", site.root)
        (warning,) = said
        assert "the trackers of the package 'tracking-shelf' are not known" in str(warning.message)

    @pytest.mark.filterwarnings("error")
    @pytest.mark.parametrize(
        "content", [b"[console_scripts]\nnothing here\n", b"[\xff]\na = b:c\n"]
    )
    def test_a_strangers_broken_file_costs_nothing(self, site: Site, content: bytes) -> None:
        site.install("stranger", entry_points="")
        (site.root / "stranger-1.0.dist-info" / "entry_points.txt").write_bytes(content)
        site.tracker("tracking-desk", name="desk")
        assert filter_trackers("desk") == ["desk"]


def run(program: str, *options: str) -> str:
    return subprocess.run(
        [sys.executable, *options, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,  # a deadlock
    ).stdout


def test_versions_are_looked_at_when_a_class_is_loaded_and_not_before() -> None:
    loaded = "print([name for name in sys.modules if name.partition('.')[0] == 'packaging'])"
    program = f"import sys, tracking_core\ntracking_core.get_available_trackers()\n{loaded}"
    assert run(program).strip() == "[]"


@pytest.fixture
def bare(tmp_path: Path) -> Callable[[str], str]:
    """Runs a program with the core and msgspec, in an interpreter that has nothing else."""
    for module in (tracking_core, msgspec):
        assert module.__file__ is not None
        package = Path(module.__file__).parent
        (tmp_path / package.name).symlink_to(package, target_is_directory=True)
    return lambda program: run(
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{program}", "-I", "-S"
    )


def test_without_packaging_nothing_is_checked(
    site: Site, tmp_path: Path, bare: Callable[[str], str]
) -> None:
    site.tracker("tracking-shelf", "absent>=1", "tracking-core>=99")
    said = bare(
        "import importlib.util, warnings; warnings.simplefilter('error')\n"
        "assert importlib.util.find_spec('packaging') is None\n"
        "import tracking_core\n"
        "print(tracking_core.filter_trackers('shelf'))\n"
    )
    assert said.strip() == "['shelf']"


def test_a_trackers_module_may_build_on_another_trackers_class(site: Site) -> None:
    site.tracker("tracking-desk", name="desk")
    site.tracker("tracking-shelf")
    (site.root / "tracking_shelf.py").write_text(
        "from tracking_core import LOGGER_TYPE_TO_CLASS\n"
        "class Tracker(LOGGER_TYPE_TO_CLASS['desk']): name = 'shelf'\n"
    )
    said = run(
        f"import sys; sys.path.insert(0, {str(site.root)!r})\n"
        "import tracking_core\n"
        "print(tracking_core.filter_trackers('shelf'))\n"
    )
    assert said.strip() == "['shelf']"
