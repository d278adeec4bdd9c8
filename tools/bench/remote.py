"""Each variant lives in a process of its own and measures a block when it is told to.

So variants take turns within seconds, and whatever else the machine does hits them alike; none
shares an interpreter, a library's import or a thread with another.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

__all__ = ["Remote", "Variant"]

ROOT = Path(__file__).resolve().parent.parent.parent


class Variant(Protocol):
    """What a factory named to `Remote` returns."""

    def block(self, amount: float) -> Any:
        """Measure once; what is returned must fit into JSON."""

    def close(self) -> None:
        """Let go of everything."""


class Remote:
    """A variant in another process.

    Args:
        folder: where it may write; its working directory.
        factory: ``module:name`` of what makes the variant, below this package.
        arguments: for the factory.

    Raises:
        RuntimeError: the process died; says what it wrote last.
    """

    def __init__(self, folder: Path, factory: str, *arguments: Any) -> None:
        folder.mkdir(parents=True)
        self._log = folder / "output.txt"
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tools.bench.remote", factory, json.dumps(arguments)],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONHASHSEED": "0"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._waiting = True

    def ready(self) -> None:
        """Wait until the variant has been made."""
        if self._waiting:
            self._answer()
            self._waiting = False

    def block(self, amount: float) -> Any:
        """What the variant measured."""
        self.ready()
        assert self._process.stdin is not None
        self._process.stdin.write(f"{json.dumps(amount)}\n")
        self._process.stdin.flush()
        return self._answer()

    def __enter__(self) -> Remote:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            raise RuntimeError(f"a measured process died:\n{self._log.read_text()[-3000:]}")
        return json.loads(line)


def main() -> None:
    # Libraries print: their text must not get between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    module, _, name = sys.argv[1].partition(":")
    factory: Any = getattr(importlib.import_module(f"tools.bench.{module}"), name)
    variant: Variant = factory(*json.loads(sys.argv[2]))
    print("null", file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(variant.block(json.loads(line))), file=answers, flush=True)
    variant.close()


if __name__ == "__main__":
    main()
