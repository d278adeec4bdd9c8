"""Pictures as MLflow's page shows them where there is little room."""

from __future__ import annotations

import io
from typing import Any

__all__ = ["SHOWN", "reduced", "small", "webp"]

SMALL = 256  # pixels, as MLflow has it
SHOWN = ("png", "webp")  # what its page takes


def small(data: bytes, suffix: str) -> tuple[bytes, str]:
    """A picture's file in the size of a thumbnail, and its suffix; itself if it is that small."""
    try:
        import PIL.Image

        with PIL.Image.open(io.BytesIO(data)) as picture:
            return reduced(picture, data, suffix)
    except Exception:  # no Pillow, or a file that it can't read: the picture itself is safe
        return data, suffix


def reduced(picture: Any, data: bytes, suffix: str) -> tuple[bytes, str]:
    """`small` of a PIL image that was opened from `data`."""
    if suffix in SHOWN and max(picture.size) <= SMALL:
        return data, suffix
    picture.thumbnail((SMALL, SMALL))
    return webp(picture), "webp"


def webp(picture: Any) -> bytes:
    """A PIL image as a WebP file."""
    file = io.BytesIO()
    picture.convert("RGBA").save(file, "webp")
    return file.getvalue()
