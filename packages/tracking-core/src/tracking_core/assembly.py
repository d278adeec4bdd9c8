"""What was chosen becomes trackers, and trackers become lanes."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec

from tracking_core.codec import travels
from tracking_core.config import PlainConfig
from tracking_core.delivery.inline import InlineLane
from tracking_core.delivery.journaled import JournaledLanes, Member
from tracking_core.delivery.lane import Lane
from tracking_core.delivery.notes import TrackerSpec
from tracking_core.errors import JournalError
from tracking_core.files import absolute
from tracking_core.journal import Durability
from tracking_core.journal.layout import ROOT, make_private_root
from tracking_core.plain import type_name
from tracking_core.records import Config
from tracking_core.registry import LOGGER_TYPE_TO_CLASS, LoggerType
from tracking_core.rejections import Place, Rejections, say
from tracking_core.tracker import GeneralTracker

__all__ = ["Delivery", "Options", "free_name", "lanes_of", "members_of"]

Delivery: TypeAlias = Literal["auto", "inline", "thread", "process"]
Options: TypeAlias = Mapping[str, Mapping[str, Any]]
Directory: TypeAlias = str | os.PathLike[str] | None


def members_of(
    chosen: Iterable[str | GeneralTracker],
    project_name: str,
    *,
    logging_dir: Directory,
    delivery: Delivery,
    init_kwargs: Options,
) -> list[Member]:
    """The trackers of a run, constructed and not started.

    Args:
        chosen: names and instances, as `filter_trackers` gives them.
        project_name: names the run.
        logging_dir, delivery: as `Tracking` was given them.
        init_kwargs: arguments for the constructors, by tracker name.

    Raises:
        TypeError: a constructor does not take its arguments, or they can't go to the delivery
            process although that was asked for.
        ValueError: an argument can't be right in the lane of its tracker.
    """
    options = _by_tracker(init_kwargs)
    members = [_member(one, project_name, logging_dir, delivery, options) for one in chosen]
    _say_unknown(options.keys() - {member.spec.name for member in members})
    return [_launched(member) for member in _told_apart(members)]


def lanes_of(
    members: list[Member],
    project_name: str,
    run_id: str,
    *,
    logging_dir: Directory,
    delivery: Delivery,
    durability: Durability,
    rejections: Rejections,
    place: Place,
    on_start: Callable[[], None],
    settings: dict[str, PlainConfig] | None,
) -> list[Lane]:
    """The lanes of a run. Those that need their caller are not started, nor given `settings`.

    Args:
        members: the trackers.
        project_name, run_id: name the run.
        logging_dir, delivery, durability: as `Tracking` was given them.
        rejections: where values that can't be kept in the journal are counted.
        place: the user's line that begins the run.
        on_start: called when a tracker that lives in a thread of this process has started.
        settings: the configuration, if there is one.
    """
    if not members or delivery == "inline":
        return [InlineLane(member.tracker) for member in members]
    for root in _journal_roots(logging_dir):
        try:
            lanes = JournaledLanes(
                root, project_name, run_id, members, rejections, durability, place, on_start
            )
        except (JournalError, OSError) as error:
            say(f"no journal can be kept in {root}: {error}")
            continue
        try:
            if settings is not None:
                lanes.put(Config(settings, time.time()))
            lanes.start()
        except BaseException:
            lanes.undo()
            raise
        return [lanes]
    say("no journal can be kept anywhere: every call waits for its trackers (inline)")
    return [InlineLane(member.tracker) for member in members]


def free_name(name: str, taken: Mapping[str, object]) -> str:
    """`name`, or where that is taken ``name#2``, ``name#3``, ..."""
    candidates = (name if number == 1 else f"{name}#{number}" for number in itertools.count(1))
    return next(candidate for candidate in candidates if candidate not in taken)


def _member(
    one: str | GeneralTracker,
    project_name: str,
    logging_dir: Directory,
    delivery: Delivery,
    options: Options,
) -> Member:
    """The tracker `one`, constructed with its arguments among `options` if it is a name."""
    if isinstance(one, GeneralTracker):
        given = type(one)
        one.check_lane("inline" if delivery == "inline" else "thread")
        spec = TrackerSpec(one.name, given.__module__, given.__qualname__, [], {}, "thread")
        return Member(spec, one, given=True, reference=None)
    kind = LOGGER_TYPE_TO_CLASS[one]
    arguments = dict(options.get(one, {}))
    places: list[Any] = [project_name]
    elsewhere: list[Any] = [project_name]
    if kind.requires_logging_directory:
        places.append(logging_dir)
        elsewhere.append(_from_anywhere(logging_dir))
    constructor: Any = kind
    tracker: GeneralTracker = constructor(*places, **arguments)
    lane = _lane_of(tracker, delivery, arguments)
    tracker.check_lane(lane)
    spec = TrackerSpec(kind.name, kind.__module__, kind.__qualname__, elsewhere, arguments, lane)
    reference: str | None = ""
    if LOGGER_TYPE_TO_CLASS.is_registered(one):
        reference = f"{kind.__module__}:{kind.__qualname__}" if _is_importable(kind) else None
    return Member(spec, tracker, given=False, reference=reference)


def _launched(member: Member) -> Member:
    """`member` with what its tracker has to know of this process."""
    try:
        said = dict(member.tracker.at_launch())
        launch = {key: value for key, value in said.items() if travels({key: value})}
        member.tracker.launch = launch
    except Exception as error:  # a stranger's code
        say(f"tracker {member.spec.name!r} can't say what it needs of this process: {error!r:.200}")
        return member
    return member._replace(spec=msgspec.structs.replace(member.spec, launch=launch))


def _by_tracker(init_kwargs: object) -> dict[str, Mapping[str, Any]]:
    if not isinstance(init_kwargs, Mapping):
        raise TypeError(
            f"init_kwargs must be a dict of dicts, by tracker name, not a {type_name(init_kwargs)}"
        )
    for name, arguments in init_kwargs.items():
        if not isinstance(arguments, (Mapping, type(None))):
            raise TypeError(
                f"init_kwargs[{name!r}] must be a dict of arguments for that tracker's "
                f"constructor, not a {type_name(arguments)}"
            )
    return {name: arguments or {} for name, arguments in init_kwargs.items()}


def _lane_of(tracker: GeneralTracker, delivery: Delivery, arguments: Mapping[str, object]) -> str:
    kind = type(tracker)
    lane = tracker.lane if delivery == "auto" else delivery
    if lane != "process":
        return lane
    if not _is_importable(kind):
        return "thread"
    unfit = [key for key, value in arguments.items() if not travels(value)]
    if not unfit:
        return lane
    if delivery == "auto":
        return "thread"
    raise TypeError(
        f"init_kwargs[{kind.name!r}][{unfit[0]!r}] is a {type_name(arguments[unfit[0]])}, which "
        "can't go to the delivery process: pass plain data, or use "
        'Tracking(..., delivery="thread")'
    )


def _is_importable(kind: type[GeneralTracker]) -> bool:
    """Whether another process could import the class."""
    return kind.__module__ != "__main__" and "<locals>" not in kind.__qualname__


def _say_unknown(names: Iterable[str]) -> None:
    for name in names:
        # Frameworks pass options for trackers that this user did not choose: only a name that
        # nobody knows is a mistake.
        if name not in LoggerType and name not in LOGGER_TYPE_TO_CLASS:
            known = ", ".join(LOGGER_TYPE_TO_CLASS)
            say(f"init_kwargs names the tracker {name!r}, which nobody knows (known: {known})")


def _journal_roots(logging_dir: Directory) -> Iterator[Path]:
    """Where journals may be kept, best first."""
    named = os.environ.get("TRACKING_DIR")
    if named:
        yield Path(named)
        return
    if logging_dir is not None and "://" not in os.fspath(logging_dir):
        yield Path(logging_dir) / ROOT
    yield Path(ROOT)
    yield from _temporary_roots()


def _temporary_roots() -> Iterator[Path]:
    """Where journals may be kept among the files of everybody, in a directory that is mine alone."""
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    try:
        root = Path(tempfile.gettempdir()) / f"tracking-{user}"
        try:
            make_private_root(root)
        except (JournalError, OSError) as error:
            say(f"no journal can be kept in {root}: {error}")
        else:
            yield root
        fresh = Path(tempfile.mkdtemp(prefix="tracking-"))
    except OSError as error:
        say(f"there is no directory for temporary files: {error}")
        return
    yield fresh
    shutil.rmtree(fresh, ignore_errors=True)  # no journal could be made there


def _from_anywhere(path: Directory) -> str | None:
    """`path` for a process with another working directory."""
    if path is None or "://" in os.fspath(path):
        return None if path is None else os.fspath(path)
    return absolute(path)


def _told_apart(members: list[Member]) -> list[Member]:
    """`members` with different names."""
    apart: dict[str, Member] = {}
    for member in members:
        name = free_name(member.spec.name, apart)
        apart[name] = member._replace(spec=msgspec.structs.replace(member.spec, name=name))
    return list(apart.values())
