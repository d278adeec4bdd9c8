"""Records as bytes, for the journal and for pipes: MessagePack, by msgspec.

Media are extension types, because in a row they stand beside dicts and lists that could look like
them. Decoding builds nothing but this project's own frozen data: opening a stranger's journal runs
no code.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tracking_core.errors import DamagedJournal
from tracking_core.records import MEDIA_TYPES, Log, Media, Record

__all__ = ["Blob", "decode", "encode", "encode_plain", "is_plain", "travels"]

MEDIA_CODE = 1
DEEPEST = 64
SMALLEST_INTEGER, LARGEST_INTEGER = -(2**63), 2**64 - 1
PLAIN_TYPES = frozenset({float, int, bool, str, type(None)})


class Blob(msgspec.Struct, frozen=True, tag="blob"):
    """Stands in the journal for a record that is kept in a file of its own, because it is large.

    Attributes:
        digest: the SHA-256 of its bytes, in hex.
        size: how many there are; the first versions did not say.
    """

    digest: str
    size: int | None = None


_encoder = msgspec.msgpack.Encoder()

encode_plain = _encoder.encode
"""`encode` for a row that is known to be plain, which nearly all are."""


def encode(record: Record | Blob) -> bytes:
    """`record` as bytes. The values must be those that `tracking_core.capture` makes."""
    if type(record) is Log and not is_plain(record.values):
        record = msgspec.structs.replace(record, values=_wrapped(record.values))
    return _encoder.encode(record)


def decode(data: bytes) -> Record | Blob:
    """The record that `encode` made `data` of.

    Raises:
        DamagedJournal: these bytes are no record.
    """
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
        raise DamagedJournal(f"these bytes are no record: {error}") from error


def is_plain(values: dict[str, Any]) -> bool:
    """Whether a row holds nothing but numbers, texts, booleans and None."""
    return PLAIN_TYPES.issuperset(map(type, values.values()))


def travels(value: object, depth: int = 0) -> bool:
    """Whether `value` is data that comes back as it went; a tuple comes back as a list."""
    if depth > DEEPEST:
        return False
    if type(value) is str:
        return value.isascii() or value == value.encode(errors="replace").decode()
    if isinstance(value, dict):
        return all(
            type(key) is str and travels(key) and travels(inner, depth + 1)
            for key, inner in value.items()
        )
    if isinstance(value, (list, tuple)):
        return all(travels(inner, depth + 1) for inner in value)
    if type(value) is int:
        return SMALLEST_INTEGER <= value <= LARGEST_INTEGER
    return type(value) in PLAIN_TYPES


def _wrapped(value: Any) -> Any:
    if type(value) is dict:
        return {key: _wrapped(inner) for key, inner in value.items()}
    if type(value) is list:
        return [_wrapped(inner) for inner in value]
    if isinstance(value, MEDIA_TYPES):
        return msgspec.msgpack.Ext(MEDIA_CODE, _encoder.encode(value))
    return value


def _unwrapped(code: int, data: memoryview) -> Any:
    if code != MEDIA_CODE:
        raise ValueError(f"extension type {code} is unknown")
    return _media_decoder.decode(data)


_media_decoder = msgspec.msgpack.Decoder(Media)
_decoder: msgspec.msgpack.Decoder[Record | Blob] = msgspec.msgpack.Decoder(
    Record | Blob, ext_hook=_unwrapped
)
