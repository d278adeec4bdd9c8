from __future__ import annotations

import datetime
import http.server
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
from aim.sdk.errors import MissingRunError
from aim.sdk.index_manager import RepoIndexManager
from aim.sdk.repo import Repo
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tracking_aim import AimTracker, read_run, remote
from tracking_aim.errors import AimRepositoryError, AimRunGoneError
from tracking_aim.runs import repository
from tracking_core import Artifact, Audio, Histogram, Image, Table, TrackingWarning
from tracking_core.capture import capture
from tracking_core.records import Config, End, Log, Record, Tags
from tracking_core.testing import Seen, refusing

from .server import AimServer, SlowProxy, free_port

WALL_TIME = 1_760_000_000.25


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "SECONDS", 0.5)


def row(step: int, /, **values: Any) -> Log:
    captured, rejected = capture(values)
    assert rejected == []
    return Log(captured, step, step, WALL_TIME + step)


def tracker_at(address: str, run_name: str = "run", **kwargs: Any) -> AimTracker:
    return AimTracker(run_name, "unused", repo=address, **kwargs)


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_a_whole_run_through_a_server_that_dies_and_comes_back(tmp_path: Path) -> None:
    repository(str(tmp_path))
    file = tmp_path / "talk.ogg"
    file.write_bytes(b"ogg")
    media = row(
        500, note="text", none=None, i=Image(numpy.zeros((2, 2, 3), "uint8"), caption="c"),
        w=Histogram([1.0, 2.0]), t=Table(["a"], [[1]]), talk=Audio(file), many=[Table(["b"], [])],
    )  # fmt: skip
    records: list[Record] = [
        Config({"lr": 0.5, "big": 2**64 - 1}, WALL_TIME),
        Tags({"label": None, "team": "vision"}, WALL_TIME),
        *(row(step, m=float(step)) for step in range(100)),
        media,
    ]
    aim_server = AimServer(tmp_path)
    tracker = tracker_at(aim_server.address, "a name")
    tracker.start()
    tracker.deliver(records)
    with pytest.warns(TrackingWarning, match=r"'file'.*takes no files: give artifacts_uri"):
        tracker.deliver([row(501, m=501.0, file=Artifact(file))])

    aim_server.kill()
    more = [row(step, m=float(step)) for step in (-3, 502, 502, 503)]
    for _ in range(2):
        with pytest.raises(ConnectionError, match=aim_server.address) as refused:
            tracker.deliver(more)
        assert tracker.fault(refused.value) == "server"
    with pytest.raises(ConnectionError, match=aim_server.address):
        tracker.finish()

    with AimServer(tmp_path, aim_server.port) as again:
        tracker.deliver(more)
        # The server lives, but this connection does not.
        tracker.tracker.repo._client.ws.close()
        with pytest.raises(ConnectionError):
            tracker.deliver([row(504, m=504.0)])
        tracker.deliver([row(504, m=504.0)])
        tracker.finish("failed")
        found = Seen(read_run(str(tracker.identity()["run_hash"]), again.address))
        with pytest.raises(MissingRunError, match="abc"):
            tracker_at(again.address, run_hash="abc").start()
        with pytest.raises(MissingRunError, match="abc"):
            list(read_run("abc", again.address))
    here = Seen(read_run(str(tracker.identity()["run_hash"]), tmp_path))
    for seen in (found, here):
        steps = [-3, *range(100), 501, 502, 503, 504]
        assert [(p.step, p.value) for p in seen.points("m")] == [(s, float(s)) for s in steps]
        assert (seen.values("note"), seen.values("none")) == (["text"], [None])
        assert [image.caption for image in seen.media("i")] == ["c"]
        assert seen.media("w") == [capture({"w": Histogram([1.0, 2.0])})[0]["w"]]
        assert [one.rows for one in seen.media("t") + seen.media("many")] == [[[1]], []]
        assert [one.data for one in seen.media("talk")] == [b"ogg"]
        assert seen.config == {"lr": 0.5, "big": 2**64 - 1}
        assert seen.tags == {"label": None, "team": "vision"}
        assert seen.status == "failed"


def test_a_server_that_says_no_is_tried_again(tmp_path: Path) -> None:
    repository(str(tmp_path))
    aim_server = AimServer(tmp_path)
    tracker = tracker_at(aim_server.address)
    tracker.start()
    tracker.deliver([row(0, m=0.0)])
    aim_server.kill()
    with pytest.raises(ConnectionError, match=aim_server.address):
        tracker.deliver([row(1, m=1.0)])  # the connection has gone
    answers = {401: "login", 403: "login", 404: "server", 429: "server", 500: "server"}
    for status, fault in answers.items():
        with refusing(aim_server.port, status):
            another = tracker_at(aim_server.address)
            for one, call in (
                (tracker, lambda: tracker.deliver([row(1, m=1.0)])),
                (tracker, tracker.finish),
                (another, another.start),
            ):
                with pytest.raises(OSError, match=aim_server.address) as refused:
                    call()
                assert one.fault(refused.value) == fault, (status, refused.value)
                if fault == "login" and one is another:
                    assert f"asks for a login (HTTP {status})" in str(refused.value)
    with AimServer(tmp_path, aim_server.port):
        tracker.deliver([row(1, m=1.0)])
        tracker.finish()
    found = Seen(read_run(str(tracker.identity()["run_hash"]), tmp_path))
    assert (found.values("m"), found.status) == ([0.0, 1.0], "finished")


def test_a_server_that_stops_answering_is_left_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository(str(tmp_path))
    with AimServer(tmp_path) as aim_server:
        tracker = tracker_at(aim_server.address)
        tracker.start()
        tracker.deliver([row(0, m=0.0)])
        with aim_server.stopped(), monkeypatch.context() as patched:
            patched.setattr(remote, "SECONDS", 0.5)
            with pytest.raises(TimeoutError, match=r"did not answer in 0.5 s") as late:
                tracker.deliver([row(1, m=1.0)])
            assert tracker.fault(late.value) == "server"
            with pytest.raises(TimeoutError, match=r"did not answer in 0.5 s"):
                tracker.finish()
        tracker.deliver([row(1, m=1.0)])
        tracker.finish()
    found = Seen(read_run(str(tracker.identity()["run_hash"]), tmp_path))
    assert (found.values("m"), found.status) == ([0.0, 1.0], "finished")


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, empty_repository: Path
) -> Iterator[tuple[Path, str]]:
    """A repository, and the address of its server, for tests that leave it alive."""
    path = tmp_path_factory.mktemp("served")
    shutil.copytree(empty_repository / ".aim", path / ".aim")
    with AimServer(path) as aim_server:
        yield path, aim_server.address


def test_a_server_that_takes_its_time_has_it_for_each_answer(
    served: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, address = served
    with SlowProxy(int(address.rpartition(":")[2]), 0.15) as slow:
        monkeypatch.setattr(remote, "SECONDS", 1.5)
        tracker = tracker_at(slow.address)
        began = time.monotonic()
        tracker.start()
        assert time.monotonic() - began > 1.5, "all of it takes longer than one answer may"
        tracker.deliver([row(0, m=0.0)])
        tracker.finish()
        assert time.monotonic() - began < 60
    found = Seen(read_run(str(tracker.identity()["run_hash"]), path))
    assert (found.values("m"), found.status) == ([0.0], "finished")
    assert_over(path, tracker)


def test_an_ended_run_is_over_for_the_server_at_once(served: tuple[Path, str]) -> None:
    path, address = served
    tracker = tracker_at(address)
    tracker.start()
    assert Repo.from_path(str(path)).list_active_runs() == [tracker.identity()["run_hash"]]
    tracker.finish()
    assert_over(path, tracker)
    # Also if there were two connections, the first of which the server believes in.
    tracker = tracker_at(address)
    tracker.start()
    tracker.tracker.repo._client.ws.close()
    with pytest.raises(ConnectionError):
        tracker.deliver([row(0, m=0.0)])
    tracker.finish("failed")
    assert_over(path, tracker)


def test_an_end_that_fails_half_way_is_tried_again(tmp_path: Path) -> None:
    repository(str(tmp_path))
    aim_server = AimServer(tmp_path)
    tracker = tracker_at(aim_server.address)
    tracker.start()
    tracker.deliver([row(0, m=0.0)])
    assert tracker._open is not None
    close = tracker._open.close

    def close_without_a_server(ended_at: float, *, succeeded: bool) -> None:
        aim_server.kill()
        close(ended_at, succeeded=succeeded)

    tracker._open.close = close_without_a_server  # type: ignore[method-assign]  # it dies just then
    with pytest.raises(ConnectionError):
        tracker.finish()
    with AimServer(tmp_path, aim_server.port):
        tracker.finish()
        assert_over(tmp_path, tracker)


def test_a_start_that_fails_leaves_nothing_at_the_server(
    served: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, address = served
    before = os.listdir(path / ".aim" / "meta" / "chunks")
    tracker = tracker_at(address, log_system_params=True)
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "pkg_resources", None)  # as new versions of setuptools
        for _ in range(2):
            with pytest.raises(ImportError) as refused:
                tracker.start()
            assert tracker.fault(refused.value) == "setup"
            assert os.listdir(path / ".aim" / "meta" / "chunks") == before
            assert Repo.from_path(str(path)).list_active_runs() == []
    ended = tracker_at(address)
    ended.start()
    ended.deliver([End("failed", WALL_TIME)])
    ended.finish("failed")
    run_hash = str(ended.identity()["run_hash"])
    again = tracker_at(address, run_hash=run_hash, artifacts_uri="no address")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # which Aim says of such an address
        with pytest.raises(UserWarning, match="scheme"):
            again.start()
    assert_over(path, ended)
    assert list(read_run(run_hash, path)) == [End("failed", WALL_TIME)]


def test_a_run_that_was_deleted_at_the_server_is_missed(served: tuple[Path, str]) -> None:
    _, address = served
    tracker = tracker_at(address)
    tracker.start()
    tracker.tracker.repo._remote_repo_proxy.delete_run(tracker.identity()["run_hash"])
    with pytest.raises(AimRunGoneError, match="was deleted") as gone:
        tracker.finish()
    assert tracker.fault(gone.value) == "run"
    with pytest.raises(MissingRunError) as missing:
        tracker.finish()
    assert tracker.fault(missing.value) == "run"


def assert_over(path: Path, tracker: AimTracker) -> None:
    """Nothing of Aim's says that the run goes on."""
    run_hash = str(tracker.identity()["run_hash"])
    repo = Repo.from_path(str(path))
    assert repo.list_active_runs() == []
    assert list(path.glob(f".aim/*/progress/{run_hash}")) == []
    assert list(path.glob(f".aim/locks/{run_hash}*")) == []
    RepoIndexManager.get_index_manager(repo).index(run_hash)  # as `aim up` does
    repo.container_pool.clear()
    assert not repo.get_run(run_hash).active


def test_nobody_at_the_address_is_retried() -> None:
    tracker = tracker_at(f"aim://127.0.0.1:{free_port()}")
    with pytest.raises(ConnectionError, match=r"the Aim server at aim://127.0.0.1:\d+") as refused:
        tracker.start()
    assert tracker.fault(refused.value) == "server"


@pytest.mark.parametrize(
    ("says", "fault", "words"),
    [
        (socket.EAI_NONAME, "setup", "no host of the name"),
        (socket.EAI_AGAIN, "server", "server at"),
    ],
)
def test_a_host_that_is_not_there_is_told_from_a_resolver_that_is_not(
    monkeypatch: pytest.MonkeyPatch, says: int, fault: str, words: str
) -> None:
    def resolve(*_: object, **__: object) -> None:
        raise socket.gaierror(says, "as the resolver says")  # which these tests must not ask

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    tracker = tracker_at("aim://typo.example:53800")
    with pytest.raises((AimRepositoryError, ConnectionError), match=words) as refused:
        tracker.start()
    assert tracker.fault(refused.value) == fault


def test_what_is_no_address_is_named() -> None:
    tracker = tracker_at("aim://a host:port")
    with pytest.raises(AimRepositoryError, match=r"no address .* like aim://host:53800") as refused:
        tracker.start()
    assert tracker.fault(refused.value) == "setup"


@pytest.mark.parametrize(
    ("kind", "body"), [("text/html", b"<html>"), ("application/json", b'{"status": "starting"}')]
)
def test_somebody_else_at_the_address_is_named_and_may_pass(kind: str, body: bytes) -> None:
    class Stranger(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stranger) as stranger:
        thread = threading.Thread(target=stranger.serve_forever)
        thread.start()
        tracker = tracker_at(f"aim://127.0.0.1:{stranger.server_address[1]}")
        with pytest.raises(ConnectionError, match=r"what answers at .* is no Aim server") as other:
            tracker.start()
        assert tracker.fault(other.value) == "server"
        stranger.shutdown()
        thread.join()


def test_a_certificate_that_nobody_trusts_is_named(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path))
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        tracker = tracker_at(f"aim://127.0.0.1:{server.server_address[1]}")
        with pytest.raises(AimRepositoryError, match="REQUESTS_CA_BUNDLE") as refused:
            tracker.start()
        assert tracker.fault(refused.value) == "setup"
        server.shutdown()
        thread.join()


def self_signed(directory: Path) -> Path:
    """A certificate of 127.0.0.1, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    path = directory / "certificate.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def silent_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yield silent.getsockname()[1]


@pytest.mark.usefixtures("quick")
def test_a_server_that_does_not_answer_is_left_in_time(silent_port: int) -> None:
    tracker = tracker_at(f"aim://127.0.0.1:{silent_port}")
    with pytest.raises(TimeoutError, match=r"did not answer in 0.5 s") as late:
        tracker.start()
    assert tracker.fault(late.value) == "server"


def test_an_exit_does_not_wait_for_a_server_that_is_gone(tmp_path: Path) -> None:
    repository(str(tmp_path))
    script = """if True:
        import sys
        from tracking_aim import AimTracker
        tracker = AimTracker("run", repo=sys.argv[1])
        tracker.start()
        tracker.log({"m": 1.0})
        print("ready", flush=True)
        sys.stdin.readline()
    """
    with AimServer(tmp_path) as aim_server:
        run = subprocess.Popen(
            [sys.executable, "-c", script, aim_server.address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert run.stdout is not None
        assert run.stdout.readline() == b"ready\n"
    assert run.communicate(b"\n", timeout=60)[0] == b""
    assert run.returncode == 0
