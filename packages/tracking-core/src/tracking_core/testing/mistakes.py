"""The settings that people get wrong, and what a tracker with a server has to make of each.

It says the reason in a sentence, with the setting that mends it, within seconds; the training goes
on; what is logged is kept; and once the setting is mended, the command that the warning named
delivers all of it.
"""

from __future__ import annotations

import contextlib
import re
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from tracking_core.records import Plain
from tracking_core.testing.commands import named_commands
from tracking_core.testing.gateway import Gateway
from tracking_core.testing.servers import self_signed
from tracking_core.testing.trial import Training

__all__ = ["MISTAKES", "WrongSettings"]

MISTAKES: Mapping[str, str] = {
    "a host that is not there": r"there is no such host",
    "a wrong key": r"[Kk][Ee][Yy]|TOKEN|token",
    "https for http": r"speaks no TLS",
    "a certificate that nobody trusts": r"certificate .*is not trusted",
    "a proxy that is not there": r"the proxy does not let it through",
}
"""Each wrong setting, and a regular expression of what the user is told of it."""

PROXIES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
NOWHERE = "http://no-such-host.invalid"
ROWS = 20
SECONDS_TO_BEGIN = 60.0  # importing a library takes its time on a busy machine
SECONDS_OF_AN_END = 2.0
SECONDS_OF_A_COMMAND = 120.0


class WrongSettings:
    """A part of `tracking_core.testing.OutageMatrix`.

    Attributes:
        wrong_key: variables with a key that the server does not know; empty if it knows of none.
        not_wrong: those of `MISTAKES` that can't be made with this tracker.
        seconds_to_a_word: from the first failure, at most.
    """

    tracker: ClassVar[str]
    reference: ClassVar[str]
    wrong_key: ClassVar[Mapping[str, str]] = {}
    not_wrong: ClassVar[Sequence[str]] = ()
    seconds_to_a_word: ClassVar[float]

    def environment(self, url: str) -> Mapping[str, str]:
        raise NotImplementedError

    def init_kwargs(self, url: str) -> Mapping[str, Plain]:
        raise NotImplementedError

    def mistakes(self) -> list[str]:
        """The names of those that can be made."""
        return [
            name
            for name in MISTAKES
            if name not in self.not_wrong and (self.wrong_key or name != "a wrong key")
        ]

    def test_wrong_setting(self, mistake: str, upstream: str, tmp_path: Path) -> None:
        """Name the setting that mends it, and deliver all once it is mended.

        `tracking_core.network.remedy_of` finds most reasons, however deep a library has wrapped them.
        """
        with (
            Gateway(upstream) as gateway,
            _made(mistake, gateway.url, tmp_path, self.wrong_key) as (url, more),
        ):
            arguments = {
                "tracker": self.tracker,
                "reference": self.reference,
                "project": "mistake",
                "first": 0,
                "kwargs": dict(self.init_kwargs(url)),
            }
            wrong = {**self.environment(url), **more}
            training = Training(arguments, tmp_path / "training", wrong)
            try:
                self._see(training, mistake, gateway.url)
            finally:
                training.clean_up()

    def _see(self, training: Training, mistake: str, url: str) -> None:
        quoted, told = f"'{self.tracker}'", re.compile(MISTAKES[mistake])

        def words() -> list[tuple[float, str]]:
            return [(at, line) for at, line in training.said if quoted in line]

        training.wait_for(words, "a word about it", SECONDS_TO_BEGIN)
        rows = len(training.rows)
        training.wait_for_rows(ROWS)
        first, said = words()[0]
        assert told.search(said), f"{mistake}: it says {said!r}, and not {told.pattern!r}"
        failed = min((at for at, _ in training.troubles), default=first)
        assert first - failed <= self.seconds_to_a_word, f"{first - failed:.1f} s to a word"
        training.finish(SECONDS_OF_AN_END)
        training.wait(SECONDS_OF_AN_END + SECONDS_TO_BEGIN)
        assert len(training.rows) >= rows + ROWS, "the training goes on"
        (command,) = named_commands(training.words)
        mended = dict(self.init_kwargs(url))
        if mended:
            # An argument is kept with the run: another one is given where it is recovered.
            kwargs = {self.tracker: mended}
            module, _, name = self.reference.partition(":")
            known = f"from {module} import {name}; register_tracker_class({name}); " * bool(name)
            program = (
                f"import sys; from tracking_core import Tracking, register_tracker_class; {known}"
                f"status = Tracking.recover({str(training.run_dir)!r}, init_kwargs={kwargs!r}); "
                f"sys.exit(status[{self.tracker!r}].pending)"
            )
            command = [sys.executable, "-c", program]
        variables = {**dict.fromkeys(PROXIES, ""), **self.environment(url)}
        ended, answer = training.run(command, SECONDS_OF_A_COMMAND, variables)
        assert ended == 0, f"{command} ended with {ended}: {answer}"
        self.see_all(training, training.words + answer)

    def see_all(self, training: Training, said: str) -> None:
        """Compare what the training has logged with what the server has.

        Args:
            said: what the user was told; a file that the tracker can't keep is named there.
        """
        raise NotImplementedError


@contextmanager
def _made(
    mistake: str, url: str, directory: Path, wrong_key: Mapping[str, str]
) -> Iterator[tuple[str, Mapping[str, str]]]:
    """The address and the variables of a run with that mistake."""
    with contextlib.ExitStack() as stack:
        if mistake == "a host that is not there":
            yield NOWHERE, {}
        elif mistake == "https for http":
            yield f"https://127.0.0.1:{stack.enter_context(_somebody(_without_tls))}", {}
        elif mistake == "a certificate that nobody trusts":
            port = stack.enter_context(_somebody(_untrusted(directory)))
            yield f"https://127.0.0.1:{port}", {}
        elif mistake == "a proxy that is not there":
            proxy = f"http://127.0.0.1:{stack.enter_context(_closed_port())}"
            yield NOWHERE, {**dict.fromkeys(PROXIES, proxy), "no_proxy": "", "NO_PROXY": ""}
        else:
            yield url, wrong_key


@contextmanager
def _closed_port() -> Iterator[int]:
    """A port where connections are refused."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@contextmanager
def _somebody(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """The port of somebody who gives everybody who connects that answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                with contextlib.suppress(OSError), listener.accept()[0] as client:
                    client.settimeout(SECONDS_OF_AN_END)
                    answer(client)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        port: int = listener.getsockname()[1]
        try:
            yield port
        finally:
            over.set()
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port)).close()
            thread.join()


def _without_tls(client: socket.socket) -> None:
    client.recv(65536)
    client.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")


def _untrusted(directory: Path) -> Callable[[socket.socket], None]:
    """Shows a certificate of its own, and says no more."""
    _, context = self_signed(directory)

    def answer(client: socket.socket) -> None:
        context.wrap_socket(client, server_side=True).close()

    return answer
