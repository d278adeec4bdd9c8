"""What everything is called in a run: names of metrics, params and tags, paths of artifacts.

Written by `tracking_mlflow.tracker`, read by `tracking_mlflow.reader`::

    images/<key>+step+3+timestamp+1760000000250+<digest>_0.png     as MLflow's image grid wants it;
    images/<key>~2+step+3+timestamp+1760000000250+<digest>_2of8.png   the third of a list of eight
    images/<key>+step+0+timestamp+0+histogram_0.png                how the histograms of a key went
    text/<key>/step_00000003_1760000000250_<digest>_0.txt          likewise tables, histograms,
                                                                   audio and video
    table_images/<digest>.png                                      pictures in the cells of tables
    tracking/config.json                                           the whole configuration
    tracking/tags/<name>.txt                                       tags too long for MLflow
    tracking/histograms/<key>.json                                 what that picture is drawn from
    tracking/media/<kind>/<key>/step_..._<digest>.json             captions and the like

The digest is that of the content, so sending a record again replaces what is there. Whatever else
there is are files of the user's own.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from tracking_core.encoding import audio_file, image_file, video_file
from tracking_core.names import escape, marked, shortened, unescape
from tracking_core.records import (
    LoggedAudio,
    LoggedHistogram,
    LoggedImage,
    LoggedTable,
    LoggedVideo,
    Value,
)
from tracking_mlflow import table

__all__ = [
    "CHANGED_TAG",
    "CONFIG_PATH",
    "LONGEST_PARAM",
    "LONGEST_TAG",
    "OURS",
    "Encoded",
    "Place",
    "companion",
    "course_path",
    "decoded",
    "encoded",
    "file_names",
    "file_path",
    "file_paths",
    "fitted",
    "fitted_tag",
    "is_thumbnail",
    "label_text",
    "leaves",
    "name_tag",
    "restored",
    "split_companion",
    "tag_file_names",
    "tag_path",
    "text_label",
    "thumbnail_path",
]

LONGEST_KEY = 230  # MLflow takes 250; the rest is for the names of companions and of our tags
LONGEST_PATH = 150  # a file name may have 255
LONGEST_PART = 255  # bytes
SHORT_PART = 60  # characters, of at most four bytes
LONGEST_FILE = 235  # bytes of a part of a path, of 255, for the same reason
LONGEST_PARAM = 6000
LONGEST_TAG = 8000

OURS = "tracking."
NAME_TAG = "tracking.name."  # + digest: the whole of a name that was too long
CHANGED_TAG = "tracking.changed."  # + name: what a param, which is write-once, is now
CONFIG_PATH = "tracking/config.json"

# MLflow's rule is [/\w.\- :]*, and posixpath.normpath may change nothing. The colon is refused by
# a client or server on Windows.
_SLASH = r"(?<=[^/])/(?=[^/])"
_DOT = r"(?<=[^/])\.|(?<![^/])\.(?=[^/.])"
_NAME = re.compile(rf"[\w \-]|{_SLASH}|{_DOT}")
# Paths of our own keep to ASCII: servers before 3.17 or so store others and can't send them back.
_PATH = re.compile(rf"[A-Za-z0-9_ \-]|{_SLASH}|{_DOT}")
_TAG = re.compile(rf"(?!\Atracking\.)(?:{_NAME.pattern})")  # the user's never begins like ours
# In a directory names are files: without capitals, which may not count, and without folders.
_NO_CAPITALS = re.compile(rf"[a-z0-9_ \-]|{_SLASH}|{_DOT}")
_NO_FOLDERS = re.compile(rf"[\w \-]|{_DOT}")
_NEITHER = re.compile(rf"[a-z0-9_ \-]|{_DOT}")
_AS_FILES = (_NAME, _NO_CAPITALS, _NO_FOLDERS, _NEITHER)
_TAGS_AS_FILES = tuple(
    re.compile(rf"(?!\Atracking\.)(?:{pattern.pattern})") for pattern in _AS_FILES
)
# In paths of the user's files also whatever survives a URL and every store, and is no folder of ours.
_OUR_FOLDERS = r"(?!\A(?:tracking/|(?:audio|images|tables|text|tracking|video|histograms)\Z))"
_IN_FILE = r'[^\x00-\x1f\x7f%#?\\:*"<>|./\ud800-\udfff]'
_FILE = re.compile(rf"{_OUR_FOLDERS}(?:{_IN_FILE}|{_SLASH}|{_DOT})")
_FILE_ALONE = re.compile(rf"{_OUR_FOLDERS}(?:{_IN_FILE}|{_DOT})")
# `escape` never writes these: no user's key can be one. The second is for directories.
_COMPANION = "/_x_"
_COMPANION_FILE = "_x2F__x_"


# --- names ---


def fitted(key: str) -> str:
    """`key` as the name of a metric or a param."""
    return shortened(escape(key, _NAME), LONGEST_KEY)


def fitted_tag(key: str) -> str:
    """`key` as the name of a tag."""
    return shortened(escape(key, _TAG), LONGEST_KEY)


def file_names(key: str) -> Iterator[str]:
    """Names of a metric or a param that is a file, the best first; all are read as `key`."""
    return _file_names(key, _AS_FILES)


def tag_file_names(key: str) -> Iterator[str]:
    """Names of a tag that is a file, the best first."""
    return _file_names(key, _TAGS_AS_FILES)


def _file_names(key: str, patterns: tuple[re.Pattern[str], ...]) -> Iterator[str]:
    whole, small, flat, both = patterns
    names = [
        *(escape(key, pattern) for pattern in (whole, small, flat)),
        *(marked(key, pattern) for pattern in (whole, flat)),
        *(escape(key, both), marked(key, both)),
        # As good as never. Its key is kept beside it, as that of any name that is too long.
        escape(key + "/" * LONGEST_KEY, both),
    ]
    for name in names:
        name = shortened(name, LONGEST_KEY)
        if all(len(part.encode()) <= LONGEST_FILE for part in name.split("/")):
            yield name


def name_tag(name: str) -> str:
    """The tag that holds the whole of `name`, which was cut."""
    return NAME_TAG + name[-16:]


def restored(name: str, tags: Mapping[str, str]) -> str:
    """The key that `fitted` or `fitted_tag` was given; `tags` are all of the run."""
    whole = tags.get(name_tag(name)) if len(name) == LONGEST_KEY else None
    return unescape(name) if whole is None else whole


def leaves(values: Mapping[str, Any], parent: str = "") -> Iterator[tuple[str, Any]]:
    """What a configuration holds, as ``parent/child`` keys; an empty dict is a value too."""
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{parent}{key}/")
        else:
            yield parent + key, value


def companion(name: str, what: str, *, files: bool = False) -> str:
    """The name of a metric that says something about the metric `name`.

    Args:
        files: whether names are files: then it lies beside that one, and else below it.
    """
    return name + (_COMPANION_FILE if files else _COMPANION) + what


def split_companion(name: str) -> tuple[str, str]:
    """The metric that `name` belongs to, and what it says of it: empty if it is no companion."""
    # In this order: the end of a name and the beginning of the second may read like the first.
    for between in (_COMPANION_FILE, _COMPANION):
        about, found, what = name.rpartition(between)
        if found and what:
            return about, what
    return name, ""


def label_text(value: str | None) -> str:
    """A tag's value as MLflow keeps it: a label (None) is the empty text.

    An empty text, and whatever would read as one, therefore gets a pair of quotes.
    """
    if value is None:
        return ""
    return f'"{value}"' if _is_quotes(value) else value


def text_label(kept: str) -> str | None:
    """The value that `label_text` was given."""
    if not kept:
        return None
    return kept[1:-1] if _is_quotes(kept) else kept


def _is_quotes(text: str) -> bool:
    return len(text) % 2 == 0 and not text.strip('"')


# --- paths ---


def file_path(folder: str, name: str) -> str:
    """Where a file of the user's goes; `unescape` gives the path back, but for names that are cut.

    A name grows when it is escaped, and no common file system takes more than 255 bytes.
    """
    return _short_parts(escape(posixpath.join(folder, name), _FILE))


def file_paths(path: str) -> Iterator[str]:
    """Paths for a file of the user's, the best first, where something else may be in the way."""
    whole = unescape(path)
    yield path
    yield _short_parts(escape(whole, _FILE_ALONE))
    yield _short_parts(marked(whole, _FILE))
    yield _short_parts(marked(whole, _FILE_ALONE))


def _short_parts(path: str) -> str:
    return "/".join(
        shortened(part, SHORT_PART) if len(part.encode()) > LONGEST_PART else part
        for part in path.split("/")
    )


def course_path(key: str) -> str:
    """Where the `distribution.Course` of the histograms of `key` is kept."""
    return f"tracking/histograms/{_short_path(key)}.json"


def tag_path(name: str) -> str:
    """Where the whole value of the tag `name` (as MLflow knows it) lies."""
    return f"tracking/tags/{_short_path(name)}.txt"


class Place(NamedTuple):
    """Where a medium or a text lies among the artifacts.

    Attributes:
        kind: ``"images"`` (figures too), ``"tables"``, ``"histograms"``, ``"audio"``, ``"video"``
            or ``"text"``.
        key: fit for a path (`Place.of`).
        time: milliseconds since the epoch.
        digest: of all that was logged under this key in one call.
        number, among: in a list of so many media. The grid shows one picture for a key and step,
            so that those of a list have keys of their own there, ``<key>/<number>``.
    """

    kind: str
    key: str
    step: int
    time: int
    digest: str
    number: int
    suffix: str
    among: int = 1

    @classmethod
    def of(cls, key: str, step: int, time: int, items: Sequence[Encoded]) -> list[Place]:
        """Places for `items`, logged as one value under `key`."""
        whole = hashlib.sha256()
        for item in items:
            whole.update(hashlib.sha256(item.data).digest())
            whole.update(repr(item.about).encode())
        digest = whole.hexdigest()[:8]
        short = _short_path(key)
        return [
            cls(item.kind, short, step, time, digest, index, item.suffix, len(items))
            for index, item in enumerate(items)
        ]

    @classmethod
    def of_course(cls, key: str) -> Place:
        """Where the picture of a `distribution.Course` lies: the grid opens at step 0."""
        return cls("images", _short_path(key), 0, 0, _COURSE, 0, "png")

    @classmethod
    def at(cls, path: str) -> Place | None:
        """The place that `path` is, or None if it is none."""
        if found := _GRID.fullmatch(path):
            key, _, step, time, digest, index, among, suffix = found.groups()
            key = key.replace("~", "/").replace("#", "/")
            key = key.removesuffix(f"/{index}") if among else key
            place = cls("images", key, int(step), int(time), digest, int(index or 0), suffix)
            return place._replace(among=int(among or 1))
        if found := _MEDIUM.fullmatch(path):
            kind, key, step, time, digest, index, among, suffix = found.groups()
            place = cls(kind, key, int(step), int(time), digest, int(index), suffix)
            return place._replace(among=int(among or 1))
        return None

    @property
    def is_course(self) -> bool:
        """Whether it is that of a picture that nobody has logged, `of_course`."""
        return self.digest == _COURSE

    @property
    def whole_key(self) -> str:
        """The key as it was logged, unless it was too long for a path."""
        return unescape(self.key)

    @property
    def stem(self) -> str:
        """The path without the dot and the suffix."""
        number = f"{self.number}of{self.among}" if self.among > 1 else f"{self.number}"
        if self.kind == "images":
            key = f"{self.key}/{self.number}" if self.among > 1 else self.key
            when = f"step+{self.step}+timestamp+{self.time}"
            return f"images/{key.replace('/', '~')}+{when}+{self.digest}_{number}"
        return f"{self.kind}/{self.key}/{self._name}_{number}"

    @property
    def path(self) -> str:
        """Where it lies."""
        return f"{self.stem}.{self.suffix}"

    @property
    def about_path(self) -> str:
        """Where the notes of all media of this call and key lie, if there are any."""
        return f"tracking/media/{self.kind}/{self.key}/{self._name}.json"

    @property
    def _name(self) -> str:
        return f"step_{self.step:08d}_{self.time}_{self.digest}"


# MLflow's own client writes the same names with a UUID for the digest, and before 3.10 or so with %
# for +: such images are read too.
_GRID = re.compile(
    r"images/([^+%]+)([+%])step\2(-?\d+)\2timestamp\2(\d+)\2([0-9a-f-]+|histogram)"
    r"(?:_(\d+)(?:of(\d+))?)?\.(\w+)"
)
_MEDIUM = re.compile(
    r"(text|tables|histograms|audio|video)/(.+)"
    r"/step_(-?\d+)_(\d+)_([0-9a-f]{8})_(\d+)(?:of(\d+))?\.(\w+)"
)
_COURSE = "histogram"  # in place of a digest


_THUMBNAIL = "+compressed."


def thumbnail_path(place: Place, suffix: str) -> str:
    """Where MLflow's image grid looks for the small copy of a picture."""
    return f"{place.stem}{_THUMBNAIL}{suffix}"


def is_thumbnail(path: str) -> bool:
    """Whether `path` is that of a small copy, ours or of MLflow's own client."""
    stem, mark, suffix = path.replace("%compressed.", _THUMBNAIL).rpartition(_THUMBNAIL)
    return bool(mark) and Place.at(f"{stem}.{suffix}") is not None


def _short_path(name: str) -> str:
    return shortened(escape(name, _PATH), LONGEST_PATH)


# --- contents ---


class Encoded(NamedTuple):
    """A medium or a text as a file; `about` is what the file itself does not say.

    Attributes:
        beside: other files that belong to it, by their path among the artifacts.
    """

    kind: str
    suffix: str
    data: bytes
    about: dict[str, Any]
    beside: Mapping[str, bytes] = MappingProxyType({})


def encoded(value: object) -> Encoded:
    """`value`, any of the media but a file, or a text, as a file."""
    match value:
        case str():
            return Encoded("text", "txt", value.encode("utf-8"), {})
        case LoggedImage():
            data, suffix = image_file(value)
            about = {"caption": value.caption, "figure": value.figure}
            said = {name: one for name, one in about.items() if one}
            return Encoded("images", suffix, data, said)
        case LoggedTable():
            data, about, pictures = table.written(value)
            return Encoded("tables", "json", data, about, pictures)
        case LoggedHistogram():
            text = json.dumps(msgspec.structs.asdict(value))
            return Encoded("histograms", "json", text.encode(), {})
        case LoggedAudio():
            data, suffix = audio_file(value)
            return Encoded("audio", suffix, data, _all_but_data(value))
        case LoggedVideo():
            data, suffix = video_file(value)
            return Encoded("video", suffix, data, _all_but_data(value))
        case _:
            raise TypeError(f"{type(value).__name__} is no medium")


def decoded(place: Place, data: bytes, about: dict[str, Any], fetch: table.Fetch) -> Value:
    """The value that `encoded` was given; pictures and sound stay in their files."""
    match place.kind:
        case "text":
            return data.decode("utf-8")
        case "tables":
            return table.read(data, about, fetch)
        case "histograms":
            return LoggedHistogram(**json.loads(data))
        case "audio":
            return LoggedAudio(data, **{**about, "format": place.suffix})
        case "video":
            return LoggedVideo(data, **{**about, "format": place.suffix})
        case _:
            shape = _png_shape(data) if place.suffix == "png" else (0, 0, 0)
            figure = about.get("figure", False)
            return LoggedImage(data, *shape, place.suffix, about.get("caption"), figure)


def _all_but_data(value: LoggedAudio | LoggedVideo) -> dict[str, Any]:
    fields = msgspec.structs.asdict(value)
    return {name: field for name, field in fields.items() if name not in ("data", "format")}


def _png_shape(data: bytes) -> tuple[int, int, int]:
    width, height, _, colour = struct.unpack(">IIBB", data[16:26])
    return width, height, {0: 1, 4: 2, 2: 3, 6: 4}.get(colour, 0)
