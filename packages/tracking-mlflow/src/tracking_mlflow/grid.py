"""The copies of a picture that MLflow's image grid shows: one of full size, and a small one.

``MlflowClient.log_image`` would make them, but it names them with a UUID (so a record sent twice
shows twice), uploads in the background, and encodes pictures anew.
"""

from __future__ import annotations

import io

from tracking_mlflow.layout import Place, thumbnail_path
from tracking_mlflow.thumbnail import SHOWN, reduced, webp

__all__ = ["copies"]


def copies(place: Place, data: bytes) -> dict[str, bytes]:
    """What to store beside the picture `data` at `place`, by path."""
    try:
        import PIL.Image

        with PIL.Image.open(io.BytesIO(data)) as picture:
            found = {}
            if place.suffix not in SHOWN:
                found[f"{place.stem}.webp"] = webp(picture)
            thumbnail, kind = reduced(picture, data, place.suffix)
            found[thumbnail_path(place, kind)] = thumbnail
            return found
    except Exception:  # no Pillow, or a file that it can't read: the picture itself is safe
        return {thumbnail_path(place, place.suffix): data} if place.suffix in SHOWN else {}
