"""Aim's client, with which each request is answered in a bounded time, and what was answered is said.

Aim's own takes whatever comes for the answer of its server, waits for some for ever, and asks for
each thing that it writes by itself.
"""

from __future__ import annotations

import ssl
import struct
import threading
import uuid
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from os.path import isdir
from typing import Any, TypeAlias

import requests
from aim.ext.transport.client import Client
from aim.ext.transport.heartbeat import HeartbeatSender
from aim.ext.transport.message_utils import (
    decode_tree,
    encode_tree,
    pack_args,
    raise_exception,
    unpack_args,
)
from aim.storage.types import BLOB

from tracking_aim.address import CONNECT_SECONDS, REMOTE, certificates, is_page, no_server, refusal

__all__ = ["Connection", "Instruction"]

SECONDS = 20.0
"""How long the server may take to answer once."""
MOST_VALUES = 800
"""In one message: the server's time for one grows with the square of its length."""
MOST_UNANSWERED = 16
"""Messages that are under way at once."""

WRITES = ("add_tag", "remove_tag")
"""What writes, though Aim's client waits for what it returns."""
NOTHING_THERE = ("collect", "first_key", "poll")
"""What asks for something that a run has only once it has been written."""

Instruction: TypeAlias = tuple[str, str, Sequence[Any]]
"""A resource of the server's, its method, and the arguments."""


class Connection(Client):  # type: ignore[misc]  # aim has no types
    """A client of the server at `address`, such as ``"aim://host:53800"``.

    Args:
        scheme: ``"http"`` or ``"https"``, as `look_at` has found it.

    Attributes:
        answers: how often the server has answered.
        blank: whether there is nothing yet in the run that is written: it is not asked for then.

    Raises:
        AimServerError: somebody else answers, or asks to be left alone for a while.
        AimLoginError: who answers lets nobody in without a login.
        requests.RequestException: nobody answers.
    """

    def __init__(self, address: str, scheme: str) -> None:
        # Not Aim's own, which looks again who is there, and begins what goes on if that fails.
        self.address = address
        self.answers = 0
        self.blank = False
        self.waited_for = threading.local()
        self._held: list[Instruction] | None = None
        self._lock = threading.Lock()
        self._id = str(uuid.uuid4())
        self._remote_path = address.removeprefix(REMOTE).rstrip("/")
        self._http_protocol = f"{scheme}://"
        self._ws_protocol = "wss://" if scheme == "https" else "ws://"
        self.request_headers: dict[str, str] = {}
        self.ssl_certfile = certificates()
        self.ssl_context = _tls(self.ssl_certfile) if scheme == "https" else None
        self._resource_pool: Any = weakref.WeakValueDictionary()
        self._client_endpoint = f"{self._remote_path}/client"
        self._tracking_endpoint = f"{self._remote_path}/tracking"
        self._thread_local.atomic_instructions = {}
        self._queue = _NothingWaits()
        self._heartbeat_sender = HeartbeatSender(self)
        self._ws = None
        self.connect()

    def start(self) -> None:
        """Tell the server from time to time that we are alive."""
        self._heartbeat_sender.start()

    # --- what is asked ---

    def connect(self) -> Any:
        return self._ask("GET", f"{self._client_endpoint}/connect/{self.uri}/")

    def get_resource_handler(
        self, resource: object, resource_type: str, handler: str = "", args: Any = ()
    ) -> str:
        wanted = {
            "resource_handler": handler,
            "resource_type": resource_type,
            "args": _text(bytes(args)),
        }
        answer = self._ask("POST", f"{self._tracking_endpoint}/{self.uri}/get-resource/", wanted)
        given = str(_json(self.address, answer)["handler"])
        self._resource_pool[given] = resource
        return given

    def release_resource(self, queue_id: object, resource_handler: str) -> None:
        path = f"{self._tracking_endpoint}/{self.uri}/release-resource/{resource_handler}/"
        self._ask("GET", path)
        self._resource_pool.pop(resource_handler, None)

    def run_instruction(
        self,
        queue_id: object,
        resource: str,
        method: str,
        args: Sequence[Any] = (),
        is_write_only: bool = False,
    ) -> Any:
        if not (is_write_only or method in WRITES):
            return self._read(resource, method, args)
        instruction = resource, method, deepcopy(args)
        several = getattr(self._thread_local, "atomic_instructions", {}).get(queue_id)
        if several is not None:
            several.append(instruction)
            return None
        try:
            self.write([instruction])
        except Exception:
            # Aim's own threads send signs of life, which nobody misses.
            if getattr(self.waited_for, "here", False):
                raise

    def flush_instructions_batch(self, hash_: object) -> None:
        instructions = self._thread_local.atomic_instructions.pop(hash_, None)
        if instructions:
            self.write(instructions)

    def _read(self, resource: str, method: str, args: Sequence[Any]) -> Any:
        if self.blank and method in NOTHING_THERE:
            if method == "poll":
                return None
            raise KeyError(args)
        wanted = {
            "resource_handler": resource,
            "method_name": method,
            "args": _text(pack_args(encode_tree(args))),
        }
        answer = self._ask(
            "POST", f"{self._tracking_endpoint}/{self.uri}/read-instruction/", wanted
        )
        try:
            return decode_tree(_entries(answer.content))
        except struct.error as error:
            raise no_server(self.address, answer) from error

    def _ask(self, verb: str, place: str, wanted: object = None) -> requests.Response:
        answer = requests.request(
            verb,
            self._http_protocol + place,
            json=wanted,
            timeout=(CONNECT_SECONDS, SECONDS),
            verify=self.ssl_certfile or True,
        )
        self.answers += 1
        if answer.status_code == 400 and "json" in answer.headers.get("Content-Type", ""):
            raise_exception(answer.json().get("exception"))
        if answer.status_code != 200:
            raise refusal(self.address, answer)
        if is_page(answer):
            raise no_server(self.address, answer)
        return answer

    # --- what is written ---

    def write(self, instructions: Iterable[Instruction]) -> None:
        """Have the server do `instructions`, in this order; or keep them, if writes are `held`.

        Raises:
            OSError: not all of it was done, or the server has not said so in time.
        """
        with self._lock:
            if self._held is not None:
                self._held += instructions
                return
            self._send(instructions)

    def hold(self) -> None:
        """Keep what is written from now on, until `flush`."""
        self._held = []

    def drop(self) -> None:
        """Forget what was kept."""
        self._held = None

    def flush(self) -> None:
        """Write what was kept."""
        with self._lock:
            instructions, self._held = self._held or [], None
            self._send(instructions)

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is written within it goes at once when it ends; if an error ends it, nothing goes."""
        if self._held is not None:
            yield
            return
        self.hold()
        try:
            yield
        except BaseException:
            self.drop()
            raise
        self.flush()

    def _send(self, instructions: Iterable[Instruction]) -> None:
        unanswered = 0
        for message in _messages(instructions):
            if unanswered == MOST_UNANSWERED:
                self._take_answer()
                unanswered -= 1
            self.ws.send(message)
            self.answers += 1  # a large one takes its time
            unanswered += 1
        for _ in range(unanswered):
            self._take_answer()

    def _take_answer(self) -> None:
        answer = self.ws.recv(SECONDS)
        self.answers += 1
        if answer != b"OK":
            raise_exception(decode_tree(unpack_args(answer)))

    @property
    def ws(self) -> Any:
        if self._ws is None:
            try:
                super().ws  # noqa: B018  # which connects
            except Exception as error:
                answer = getattr(error, "response", None)
                if hasattr(answer, "status_code"):
                    raise refusal(self.address, answer) from error
                raise
            self.answers += 1
        return self._ws


class _NothingWaits:
    """Stands in for the queue of Aim's client, which here has sent what it was given."""

    def wait_for_finish(self) -> None:
        """Nothing is ever left."""

    def stop(self) -> None:
        """Nothing is running."""


def _messages(instructions: Iterable[Instruction]) -> Iterator[bytes]:
    """`instructions` in messages that the server takes in a moment."""
    some: list[Instruction] = []
    size = 0
    for instruction in instructions:
        _, method, args = instruction
        more = len(args[1]) if method == "update" else 4
        if some and size + more > MOST_VALUES:
            yield pack_args(encode_tree(some, strict=False))
            some, size = [], 0
        some.append(instruction)
        size += more
    if some:
        yield pack_args(encode_tree(some, strict=False))


def _entries(packed: bytes) -> Iterator[tuple[bytes, Any]]:
    """What Aim's `unpack_args` yields, of an answer of any length, however it was cut on its way."""
    place = 0
    while place < len(packed):
        (length,) = struct.unpack_from("I", packed, place)
        key = packed[place + 4 : place + 4 + length]
        place += 4 + length
        is_blob, length = struct.unpack_from("=?I", packed, place)
        value = packed[place + 5 : place + 5 + length]
        place += 5 + length
        if place > len(packed):
            raise struct.error("it ends too early")
        yield key, BLOB(data=value) if is_blob else value


def _text(packed: bytes) -> str:
    from base64 import b64encode

    return b64encode(packed).decode()


def _json(address: str, answer: requests.Response) -> Any:
    try:
        return answer.json()
    except ValueError as error:
        raise no_server(address, answer) from error


def _tls(trusted: str | None) -> ssl.SSLContext:
    if trusted is None:
        return ssl.create_default_context()
    if isdir(trusted):
        return ssl.create_default_context(capath=trusted)
    return ssl.create_default_context(cafile=trusted)
