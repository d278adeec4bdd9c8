"""Files and texts made of raw media, by the standard library alone.

Trackers call this when they deliver, away from the training thread. Pictures become PNG
(W3C recommendation, third edition), moving pictures animated PNG of the same recommendation, which
every browser plays and Pillow reads; sound becomes WAV. All of them hold exactly what was captured.
"""

from __future__ import annotations

import csv
import io
import math
import struct
import wave
import zlib
from collections.abc import Iterator, Sequence

from tracking_core.records import Cell, LoggedAudio, LoggedImage, LoggedTable, LoggedVideo, Plain

__all__ = ["audio_file", "csv_text", "image_file", "markdown", "video_file"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # channels -> grey, grey and alpha, RGB, RGBA
_COMPRESSION = 6


def image_file(image: LoggedImage) -> tuple[bytes, str]:
    """The picture as a file, and its suffix without the dot: PNG unless it came as a file.

    A caption is kept in the PNG as its ``Description`` text (``PIL.Image.open(...).text``).
    """
    if image.format != "raw":
        return image.data, image.format
    pixels = _deflate(image.data, image.width * image.channels)
    return b"".join([_png_head(image), _chunk(b"IDAT", pixels), _chunk(b"IEND", b"")]), "png"


def video_file(video: LoggedVideo) -> tuple[bytes, str]:
    """The moving picture as a file, and its suffix: animated PNG unless it came as a file."""
    if video.format != "raw":
        return video.data, video.format
    return b"".join(_animated(video)), "png"


def audio_file(audio: LoggedAudio) -> tuple[bytes, str]:
    """The sound as a file, and its suffix: WAV unless it came as a file."""
    if audio.format != "pcm16":
        return audio.data, audio.format
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(audio.channels)
        out.setsampwidth(2)
        out.setframerate(audio.sample_rate)
        out.writeframes(audio.data)
    return file.getvalue(), "wav"


def csv_text(table: LoggedTable) -> str:
    """The table as CSV with a header line; an empty cell is None (RFC 4180).

    Of a picture in a cell it says that it is one, as `markdown` does.
    """
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(table.columns)
    for row in table.rows:
        writer.writerow([_said(cell) for cell in row])
    return file.getvalue()


def markdown(table: LoggedTable) -> str:
    """The table as Markdown (GitHub's tables), for UIs that show text.

    >>> print(markdown(LoggedTable(["name", "loss"], [["a|b", 0.5]])))
    | name | loss |
    | --- | --- |
    | a\\|b | 0.5 |
    """
    lines: list[Sequence[Cell]] = [table.columns, ["---"] * len(table.columns), *table.rows]
    return "\n".join(
        "| " + " | ".join(_markdown_cell(cell) for cell in line) + " |" for line in lines
    )


def _said(cell: Cell) -> Plain:
    if not isinstance(cell, LoggedImage):
        return cell
    caption = f": {cell.caption}" if cell.caption else ""
    return f"picture of {cell.width}x{cell.height}{caption}" if cell.width else f"picture{caption}"


def _markdown_cell(cell: Cell) -> str:
    if cell is None:
        return ""
    return str(_said(cell)).replace("\\", "\\\\").replace("|", "\\|").replace("\n", "<br>")


def _png_head(picture: LoggedImage | LoggedVideo) -> bytes:
    colour = _COLOUR_TYPES[picture.channels]
    header = struct.pack(">IIBBBBB", picture.width, picture.height, 8, colour, 0, 0, 0)
    head = _SIGNATURE + _chunk(b"IHDR", header)
    if picture.caption:
        text = b"Description\0\0\0\0\0" + picture.caption.replace("\0", "").encode()
        head += _chunk(b"iTXt", text)
    return head


def _animated(video: LoggedVideo) -> Iterator[bytes]:
    yield _png_head(video)
    yield _chunk(b"acTL", struct.pack(">II", video.frames, 0))
    numerator, denominator = _delay(video.fps)
    size = video.width * video.height * video.channels
    sequence = 0
    for index in range(video.frames):
        control = (sequence, video.width, video.height, 0, 0, numerator, denominator, 0, 0)
        yield _chunk(b"fcTL", struct.pack(">IIIIIHHBB", *control))
        frame = video.data[index * size : (index + 1) * size]
        pixels = _deflate(frame, video.width * video.channels)
        sequence += 1
        if index == 0:
            yield _chunk(b"IDAT", pixels)
        else:
            yield _chunk(b"fdAT", struct.pack(">I", sequence) + pixels)
            sequence += 1
    yield _chunk(b"IEND", b"")


def _delay(fps: float) -> tuple[int, int]:
    """Seconds between two frames, as the fraction of 16-bit integers that the format asks for."""
    if not math.isfinite(fps) or fps <= 0:
        return 1, 10
    milliseconds = round(1000 / fps)
    return min(max(milliseconds, 1), 65535), 1000


def _deflate(pixels: bytes, row: int) -> bytes:
    compressor = zlib.compressobj(_COMPRESSION)
    parts = []
    for start in range(0, len(pixels), row):
        parts.append(compressor.compress(b"\0"))  # each row names its filter: none
        parts.append(compressor.compress(pixels[start : start + row]))
    parts.append(compressor.flush())
    return b"".join(parts)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
