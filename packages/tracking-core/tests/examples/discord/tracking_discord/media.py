"""What becomes of a picture, a sound, a table, a file: attachments, which lines of JSON name."""

import json
import os
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tracking_core.encoding import audio_file, csv_text, image_file, video_file
from tracking_core.files import Unkept, as_text, files_of, in_words, open_file
from tracking_core.records import (
    LoggedAudio,
    LoggedFile,
    LoggedHistogram,
    LoggedImage,
    LoggedTable,
    LoggedVideo,
)
from tracking_discord.webhook import LARGEST_FILE

__all__ = ["written"]

Reject = Callable[[str, object, str], None]


def written(lines: Sequence[dict[str, Any]], reject: Reject) -> tuple[str, dict[str, bytes]]:
    """`lines` as JSON, and the files to attach, by name."""
    files: dict[str, bytes] = {}

    def attached(medium: object) -> list[Any]:
        """What a line says in the place of `medium`: kind, caption, and names of files."""
        names = {}
        try:
            for name, data in _files_of(medium, reject):
                if len(data) > LARGEST_FILE:
                    reject(name, medium, "Discord takes files of 10 MiB at most")
                else:
                    plain = re.sub("[^A-Za-z0-9.]+", "_", name)[-60:]
                    names[name] = f"{secrets.token_hex(4)}-{plain}"
                    files[names[name]] = data
        except Unkept as reason:
            reject(str(medium), medium, str(reason))
        return [type(medium).__name__, _caption_of(medium), names]

    text = [json.dumps(line, ensure_ascii=False, default=attached) for line in lines]
    return "\n".join(text), files


def _caption_of(medium: object) -> str | None:
    """What is said beside `medium`, or in its place."""
    if isinstance(medium, LoggedHistogram):
        return f"{medium.num:g} values from {medium.min:g} to {medium.max:g}"
    return getattr(medium, "caption", None)


def _files_of(medium: object, reject: Reject) -> Iterator[tuple[str, bytes]]:
    """Name and content of the files that hold `medium`; none where Discord has nothing for it."""
    match medium:
        case LoggedImage():
            data, suffix = image_file(medium)
            yield f"image.{suffix}", data
        case LoggedAudio():
            data, suffix = audio_file(medium)
            yield f"audio.{suffix}", data
        case LoggedVideo():
            data, suffix = video_file(medium)
            yield f"video.{suffix}", data
        case LoggedTable():
            yield "table.csv", csv_text(medium).encode()
        case LoggedFile():
            found, left_out = files_of(medium)
            if left_out:
                reject(medium.path, medium, in_words(medium, left_out))
            for one in found:
                with open_file(one.path) as file:
                    name = as_text(os.path.join(medium.artifact_path, one.inner))
                    yield name, file.read(LARGEST_FILE + 1) or b""
