"""The commands that warnings name, so that a test can run them as a reader would."""

from __future__ import annotations

import re
import shlex
import warnings
from collections.abc import Iterable

__all__ = ["named_command", "named_commands"]

_NAMED = re.compile(r"[Tt]his (?:delivers them|tries them again): (.+)")


def named_command(said: Iterable[warnings.WarningMessage]) -> list[str]:
    """The one command that the warnings at the end of a run name: it delivers what is left.

    Raises:
        ValueError: they name none, or several.
    """
    (command,) = named_commands("\n".join(str(one.message) for one in said))
    return command


def named_commands(said: str) -> list[list[str]]:
    """The commands that a text names, such as what a training has written on stderr: each once."""
    return [shlex.split(one) for one in dict.fromkeys(_NAMED.findall(said))]
