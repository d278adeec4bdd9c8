"""The command that a warning names, so that a test can run it as a reader would."""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Iterable

__all__ = ["named_command"]

WORDS = "this delivers them: "


def named_command(said: Iterable[warnings.WarningMessage]) -> list[str]:
    """The one command that the warnings at the end of a run name: it delivers what is left.

    Raises:
        ValueError: they name none, or several.
    """
    messages = [str(one.message) for one in said]
    (command,) = [message.partition(WORDS)[2] for message in messages if WORDS in message]
    return shlex.split(command)
