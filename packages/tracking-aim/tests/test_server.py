from __future__ import annotations

import http.server
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
from aim.sdk.errors import MissingRunError
from aim.sdk.index_manager import RepoIndexManager
from aim.sdk.repo import Repo

from tracking_aim import AimTracker, client, read_run
from tracking_aim.errors import AimRepositoryError, AimRunGoneError
from tracking_aim.runs import repository
from tracking_core import Artifact, Audio, Histogram, Image, Table, TrackingWarning
from tracking_core.capture import capture
from tracking_core.network import retry_after_of
from tracking_core.records import Config, End, Log, Record, Tags
from tracking_core.testing import Seen, refusing, self_signed

from .server import AimServer, Proxy, free_port

WALL_TIME = 1_760_000_000.25


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "SECONDS", 0.5)


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
            patched.setattr(client, "SECONDS", 0.5)
            with pytest.raises(TimeoutError, match=r"did not answer in 0.5 s") as late:
                tracker.deliver([row(1, m=1.0)])
            assert tracker.fault(late.value) == "server"
            with pytest.raises(TimeoutError, match=r"did not answer in 0.5 s"):
                tracker.finish()
        tracker.deliver([row(1, m=1.0)])
        tracker.finish()
    found = Seen(read_run(str(tracker.identity()["run_hash"]), tmp_path))
    assert (found.values("m"), found.status) == ([0.0, 1.0], "finished")


@pytest.fixture
def left_alone(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """As `served`, for tests whose connections the server goes on to believe in."""
    repository(str(tmp_path))
    with AimServer(tmp_path) as aim_server:
        yield tmp_path, aim_server.address


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
    with Proxy(port_of(address), 0.15) as slow:
        monkeypatch.setattr(client, "SECONDS", 1.5)
        tracker = tracker_at(slow.address)
        began = time.monotonic()
        tracker.start()
        assert time.monotonic() - began > 1.5, "all of it takes longer than one answer may"
        assert slow.answers <= 13
        tracker.deliver([row(step, m=float(step)) for step in range(200)])
        assert slow.answers <= 14
        tracker.deliver([Tags({"a": None, "b": None, "c": "d"}, WALL_TIME)])
        tracker.finish()
        assert slow.answers <= 30
    found = Seen(read_run(str(tracker.identity()["run_hash"]), path))
    assert found.values("m") == [float(step) for step in range(200)]
    assert (found.tags, found.status) == ({"a": None, "b": None, "c": "d"}, "finished")
    assert_over(path, tracker)


def test_a_start_that_is_cut_off_anywhere_leaves_one_run_to_go_on_with(
    left_alone: tuple[Path, str],
) -> None:
    path, address = left_alone
    before = runs_in(path)
    tracker = tracker_at(address, "a name")
    for answers in range(13):
        with Proxy(port_of(address), cut_after=answers) as proxy:
            # As another process does, that takes over from one that was killed.
            another = tracker_at(proxy.address, "a name")
            another.resume({"run_hash": tracker.identity()["run_hash"]})
            with pytest.raises(OSError, match=proxy.address):
                another.start()
        assert runs_in(path) - before <= {tracker.identity()["run_hash"]}
    tracker.start()
    tracker.deliver([row(0, m=0.0)])
    assert tracker.tracker.name == "a name"
    tracker.finish()
    assert runs_in(path) - before == {tracker.identity()["run_hash"]}
    found = Seen(read_run(str(tracker.identity()["run_hash"]), path))
    assert (found.values("m"), found.status) == ([0.0], "finished")


def test_what_is_left_of_a_start_that_was_cut_off_goes_with_the_next_that_fails(
    left_alone: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, address = left_alone
    before = runs_in(path)
    tracker = tracker_at(address, log_system_params=True)
    with Proxy(port_of(address), cut_after=9) as proxy:
        another = tracker_at(proxy.address)
        another.resume({"run_hash": tracker.identity()["run_hash"]})
        with pytest.raises(ConnectionError):
            another.start()
    assert len(runs_in(path) - before) == 1
    monkeypatch.setitem(sys.modules, "pkg_resources", None)  # as new versions of setuptools
    with pytest.raises(ImportError):
        tracker.start()
    assert runs_in(path) == before


def test_a_batch_whose_answer_was_lost_is_written_again_to_the_same_places(
    left_alone: tuple[Path, str],
) -> None:
    path, address = left_alone
    rows = [row(step // 2, m=float(step)) for step in range(100)]
    with Proxy(port_of(address)) as proxy:
        tracker = tracker_at(proxy.address)
        tracker.start()
        tracker.deliver(rows[:20])
        proxy.cut_after = proxy.answers
        with pytest.raises(ConnectionError):
            tracker.deliver(rows[20:])
        proxy.cut_after = float("inf")
        tracker.deliver(rows[20:60])
        tracker.deliver(rows[60:])
        tracker.finish()
    found = Seen(read_run(str(tracker.identity()["run_hash"]), path))
    assert sorted(found.values("m")) == [float(step) for step in range(100)]


def runs_in(path: Path) -> set[object]:
    return {place.name for place in path.glob(".aim/meta/chunks/*")}


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


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

    def close_without_a_server(*, succeeded: bool) -> None:
        aim_server.kill()
        close(succeeded=succeeded)

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
        (socket.EAI_NONAME, "setup", "no such host"),
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


def saying(status: int, *parts: bytes) -> Callable[[bytes], bytes | None]:
    """Refuses with `status` what begins with all of `parts`, and asks to be left alone for a while."""
    answer = (
        f"HTTP/1.1 {status} No\r\nRetry-After: 7\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
    return lambda begun: answer.encode() if all(part in begun for part in parts) else None


@pytest.mark.parametrize("status", [401, 403, 407, 429, 503])
@pytest.mark.parametrize("part", [b"/status/", b"/connect/", b"/get-resource/", b"/write-instr"])
def test_who_refuses_before_a_server_is_named_with_what_mends_it(
    served: tuple[Path, str], status: int, part: bytes
) -> None:
    words, fault = {
        401: (r"asks for a login \(HTTP 401\): give its name and password in init_kwargs", "login"),
        403: (r"asks for a login \(HTTP 403\): give its name and password in init_kwargs", "login"),
        407: (r"the proxy .* \(HTTP 407\): give its name and password in HTTPS_PROXY", "login"),
        429: (r"asks to be asked less \(HTTP 429\)", "server"),
        503: (r"is no Aim server \(HTTP 503\)", "server"),
    }[status]
    with Proxy(port_of(served[1]), refuse=saying(status, part)) as proxy:
        tracker = tracker_at(proxy.address)
        began = time.monotonic()
        with pytest.raises(OSError, match=words) as refused:
            tracker.start()
        assert time.monotonic() - began < 5
    assert tracker.fault(refused.value) == fault
    assert retry_after_of(refused.value) == 7.0


def test_an_answer_that_is_not_the_servers_is_not_taken_for_nothing(
    left_alone: tuple[Path, str],
) -> None:
    path, address = left_alone
    begun = tracker_at(address)
    begun.start()
    begun.deliver([Config({"a": 1}, WALL_TIME), row(0, m=0.0)])
    begun._running().give_up()  # its process was killed
    again = tracker_at(address)
    again.resume(begun.identity())
    refuse = saying(503, b"/read-instruction/", b'"collect"')
    with Proxy(port_of(address), refuse=refuse) as proxy:
        another = tracker_at(proxy.address)
        another.resume({**begun.identity(), "repo": proxy.address})
        with pytest.raises(ConnectionError, match="HTTP 503"):
            another.start()
    again.start()
    again.deliver([Config({"b": 2}, WALL_TIME), row(0, m=0.0), row(1, m=1.0)])
    again.finish()
    found = Seen(read_run(str(again.identity()["run_hash"]), path))
    assert (found.values("m"), found.config) == ([0.0, 1.0], {"a": 1, "b": 2})


def test_a_name_and_a_password_are_taken_from_the_address(served: tuple[Path, str]) -> None:
    path, address = served
    refused = saying(401)

    def refuse(begun: bytes) -> bytes | None:
        return None if b"authorization: basic bWU6c2VjcmV0" in lowered(begun) else refused(begun)

    with Proxy(port_of(address), refuse=refuse) as proxy:
        tracker = tracker_at(f"aim://me:secret@{proxy.place}")
        tracker.start()
        tracker.deliver([row(0, m=0.0)])
        tracker.finish()
        with pytest.raises(OSError, match="asks for a login") as other:
            tracker_at(f"aim://me:wrong@{proxy.place}").start()
        assert "wrong" not in str(other.value)
    assert "secret" not in str(tracker.identity())
    assert Seen(read_run(str(tracker.identity()["run_hash"]), path)).values("m") == [0.0]


def lowered(begun: bytes) -> bytes:
    """`begun` with a header's name in small letters."""
    return begun.replace(b"Authorization: Basic", b"authorization: basic")


def test_a_certificate_that_nobody_trusts_is_named_with_the_variable_that_mends_it(
    served: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, address = served
    certificate, context = self_signed(tmp_path)
    with Proxy(port_of(address), context=context) as proxy:
        tracker = tracker_at(proxy.address)
        began = time.monotonic()
        with pytest.raises(AimRepositoryError, match="REQUESTS_CA_BUNDLE") as refused:
            tracker.start()
        assert time.monotonic() - began < 5
        assert tracker.fault(refused.value) == "setup"
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        tracker.start()
        tracker.deliver([row(0, m=0.0)])
        tracker.finish()
    assert Seen(read_run(str(tracker.identity()["run_hash"]), path)).values("m") == [0.0]


def test_a_proxy_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    tracker = tracker_at("aim://aim.example:53800")
    began = time.monotonic()
    with pytest.raises(AimRepositoryError, match="see to HTTPS_PROXY and HTTP_PROXY") as refused:
        tracker.start()
    assert time.monotonic() - began < 5
    assert tracker.fault(refused.value) == "setup"


@pytest.mark.parametrize("options", [{}, {"run_hash": "abc"}])
def test_an_address_for_browsers_is_told_from_a_servers(options: dict[str, str]) -> None:
    tracker = tracker_at("http://me:secret@127.0.0.1:53800", **options)
    with pytest.raises(AimRepositoryError, match=r"aim://host:port.*not to 'http://127") as refused:
        tracker.start()
    assert tracker.fault(refused.value) == "setup"


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
