"""Comet's own messages: what its client writes into an archive, or sends."""

from __future__ import annotations

from typing import Any

from tracking_comet_ml.batch import Asset, Parameter, Point
from tracking_comet_ml.settings import imported

__all__ = ["Messages"]


class Messages:
    """Makes them; `number` counts those of a session."""

    def __init__(self) -> None:
        # Looked up once: there is a message for each number that is logged.
        self._made_of = imported().messages

    def metric(self, point: Point, number: int) -> Any:
        """A ``MetricMessage``, with the point's own time and step."""
        message = self._made_of.MetricMessage(timestamp=point.time, message_id=number)
        message.set_metric(point.name, point.value, point.step, point.epoch)
        return message

    def parameter(self, parameter: Parameter, number: int) -> Any:
        """A ``ParameterMessage``."""
        kind = self._made_of.ParameterMessage
        message = kind(timestamp=parameter.time, message_id=number)
        source = kind.source_autologger if parameter.automatic else kind.source_manual
        listed = isinstance(parameter.value, list)
        set_value = message.set_params if listed else message.set_param
        set_value(parameter.name, parameter.value, parameter.step, source)
        return message

    def other(self, key: str, value: Any, number: int) -> Any:
        """A ``LogOtherMessage``."""
        return self._made_of.LogOtherMessage(key, value, number)

    def asset(self, asset: Asset, asset_id: str, number: int) -> Any:
        """An ``UploadFileMessage``, for a file that has the asset's id for its name."""
        message = self._made_of.UploadFileMessage(
            file_path=asset_id,
            upload_type=asset.kind,
            additional_params=asset.fields(asset_id),
            metadata=dict(asset.metadata),
            size=0,  # it is not written
            message_id=number,
        )
        message.local_timestamp = asset.time
        return message
