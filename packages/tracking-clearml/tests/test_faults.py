"""Whose fault an error is, what it says, and what becomes of the records."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy
import pytest

from tracking_clearml import (
    ClearMLLoginError,
    ClearMLRunGoneError,
    ClearMLServerError,
    ClearMLSettingError,
    ClearMLTracker,
    ClearMLUnreachableError,
    read_run,
)
from tracking_core import Artifact, Image, Tracking, TrackingWarning
from tracking_core.faults import Fault, fault_of_start
from tracking_core.records import Config, Record, Tags
from tracking_core.testing import Seen, self_signed

from .logged import NOW, row, started
from .server import Server

DOTS = numpy.array([[0, 255]], dtype="uint8")

# ClearML's own configuration files are read with a parser that has been renamed since.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def fault_of_starting(tracker: ClearMLTracker, kind: type[Exception], match: str) -> Fault:
    with pytest.raises(kind, match=match) as raised:
        tracker.start()
    return fault_of_start(tracker.fault(raised.value), raised.value)


def fault_of_delivering(tracker: ClearMLTracker, *records: Record) -> Fault:
    with pytest.raises(Exception) as raised:
        tracker.deliver(list(records))
    return tracker.fault(raised.value)


class TestArguments:
    @pytest.mark.parametrize(
        ("arguments", "kind", "said"),
        [
            ({"projct_name": "x"}, TypeError, "'projct_name': did you mean 'project_name'"),
            ({"task_type": "trainnig"}, ValueError, "'trainnig'.*did you mean 'training'"),
            ({"auto_connect_streams": True}, ValueError, r"no auto_connect_streams.*Task\.init"),
            ({"deferred_init": True}, ValueError, "no deferred_init"),
            ({"continue_last_task": 0}, ValueError, "continue_last_task='<id>'"),
            ({"output_uri": "nosuch://x"}, ValueError, "output_uri='nosuch://x'.*s3://"),
            ({"reuse_last_task_id": True}, ValueError, "reuse_last_task_id='<id>'"),
        ],
    )
    def test_what_is_of_no_use_is_refused_without_the_library(
        self, tmp_path: Path, arguments: dict[str, Any], kind: type[Exception], said: str
    ) -> None:
        with pytest.raises(kind, match=said):
            ClearMLTracker("run", **arguments)
        script = f"""if True:
            import sys
            from tracking_core import Tracking
            try:
                Tracking("clearml", sys.argv[1]).init_trackers(
                    "run", init_kwargs={{"clearml": {arguments!r}}}
                )
            except {kind.__name__}:
                print("clearml" in sys.modules)
        """
        done = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path)],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.stdout.strip() == "False", done.stderr

    def test_a_member_of_clearmls_enumeration_is_a_type(self, offline: Path) -> None:
        from clearml import Task

        started(task_type=Task.TaskTypes.testing, output_uri=offline).finish()


class TestStart:
    def test_no_key_is_the_logins(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("CLEARML_API_ACCESS_KEY")
        monkeypatch.delenv("CLEARML_API_SECRET_KEY")
        said = "clearml-init.*CLEARML_OFFLINE_MODE=1"
        assert fault_of_starting(ClearMLTracker("run"), ClearMLLoginError, said) == "login"

    def test_nobody_waits_for_a_key_at_the_end(self, server: Server, tmp_path: Path) -> None:
        script = """if True:
            import sys, time, warnings
            from tracking_core import Tracking
            warnings.simplefilter("always")
            tracking = Tracking("clearml", sys.argv[1])
            tracking.init_trackers("run")
            tracking.log({"loss": 1.0}, step=0)
            until = time.monotonic() + 30
            while tracking.status()["clearml"].fault is None and time.monotonic() < until:
                tracking.flush(0.2)
            began = time.monotonic()
            tracking.end_training()
            print(time.monotonic() - began < 10, tracking.status()["clearml"].fault)
        """
        environment = {name: text for name, text in os.environ.items() if "_KEY" not in name}
        done = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=90,
        )
        assert done.stdout.strip() == "True login", done.stderr
        assert "Do one of these: run `clearml-init`" in done.stderr  # no word of it is masked

    @pytest.mark.parametrize("status", [401, 403])
    def test_a_key_that_is_refused_is_the_logins(self, server: Server, status: int) -> None:
        server.answer = lambda endpoint: status if endpoint == "auth.login" else None
        tracker = ClearMLTracker("run")
        assert (
            fault_of_starting(tracker, ClearMLLoginError, "does not let this login in") == "login"
        )
        server.answer = lambda endpoint: None
        tracker.start()
        tracker.finish()
        assert len(server.tasks) == 1

    @pytest.mark.parametrize("status", [200, 302, 403, 404, 502])
    @pytest.mark.parametrize("endpoint", ["auth.login", "projects.get_all", "tasks.started"])
    def test_a_page_is_the_networks_and_one_task_is_made(
        self, server: Server, status: int, endpoint: str
    ) -> None:
        server.page = lambda called: status if called == endpoint else None
        tracker = ClearMLTracker("run")
        said = "as ClearML's server does.*login page.*CLEARML_API_HOST"
        assert fault_of_starting(tracker, ClearMLServerError, said) == "server"
        assert fault_of_starting(tracker, ClearMLServerError, said) == "server"
        server.page = lambda called: None
        tracker.start()
        tracker.finish()
        assert len(server.tasks) == 1

    def test_nobody_at_the_address_may_pass(self, server: Server) -> None:
        server.stop()
        tracker = ClearMLTracker("run")
        assert fault_of_starting(tracker, ClearMLUnreachableError, "nobody answers") == "server"

    @pytest.mark.parametrize(
        ("host", "said"),
        [
            ("http://no-such-host.invalid", "there is no such host: see to CLEARML_API_HOST"),
            ("ftp://127.0.0.1", "CLEARML_API_HOST is no address"),
        ],
    )
    def test_an_address_of_no_use_is_named(
        self, server: Server, monkeypatch: pytest.MonkeyPatch, host: str, said: str
    ) -> None:
        monkeypatch.setenv("CLEARML_API_HOST", host)
        if "invalid" in host:
            import socket

            def nobody(*args: object, **kwargs: object) -> None:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

            monkeypatch.setattr(socket, "getaddrinfo", nobody)
        assert fault_of_starting(ClearMLTracker("run"), ClearMLSettingError, said) == "setup"

    def test_where_no_tls_is_spoken_the_address_is_named(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CLEARML_API_HOST", server.address.replace("http:", "https:"))
        said = "speaks no TLS: CLEARML_API_HOST has to begin with http://"
        assert fault_of_starting(ClearMLTracker("run"), ClearMLSettingError, said) == "setup"

    def test_a_proxy_that_does_not_answer_is_named(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server.stop()  # its port is nobody's now
        monkeypatch.setenv("HTTP_PROXY", server.address)
        monkeypatch.setenv("CLEARML_API_HOST", "http://clearml.example")
        said = "the proxy does not let it through"
        assert fault_of_starting(ClearMLTracker("run"), ClearMLSettingError, said) == "setup"

    def test_a_certificate_that_nobody_trusts_is_named_with_the_remedy(
        self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        certificate, context = self_signed(tmp_path)
        server.encrypt(context)
        monkeypatch.setenv("CLEARML_API_HOST", server.address)
        tracker = ClearMLTracker("run")
        said = "is not trusted: let REQUESTS_CA_BUNDLE name"
        assert fault_of_starting(tracker, ClearMLSettingError, said) == "setup"
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        tracker.start()
        tracker.finish()
        assert len(server.tasks) == 1

    def test_a_task_that_is_not_there_is_the_setups_and_a_deleted_one_the_runs(
        self, server: Server
    ) -> None:
        named = ClearMLTracker("run", continue_last_task="abc")
        assert fault_of_starting(named, ClearMLSettingError, "there is no task 'abc'") == "setup"
        first = started()
        server.tasks.clear()
        again = ClearMLTracker("project")
        again.resume(first.identity())
        assert fault_of_starting(again, ClearMLRunGoneError, "was it deleted") == "run"
        assert server.tasks == {}

    def test_a_broken_configuration_file_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "broken.conf").write_text('api {\n web_server: "x\n credentials { access_key "')
        script = """if True:
            from tracking_clearml import ClearMLTracker
            tracker = ClearMLTracker("run")
            try:
                tracker.start()
            except Exception as error:
                print(tracker.fault(error), error)
        """
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", script],
            env={**os.environ, "CLEARML_CONFIG_FILE": str(tmp_path / "broken.conf")},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.stdout.startswith("setup") and "broken.conf" in done.stdout, done.stderr


class TestOffline:
    @pytest.mark.parametrize("inside", [False, True])
    def test_a_file_where_the_sessions_go_is_named(
        self, offline: Path, tmp_path: Path, inside: bool
    ) -> None:
        in_the_way = tmp_path / "cache" / "offline" if inside else tmp_path / "cache"
        in_the_way.parent.mkdir(exist_ok=True)
        in_the_way.write_text("in the way")
        tracker = ClearMLTracker("run")
        assert fault_of_starting(tracker, ClearMLSettingError, "CLEARML_CACHE_DIR") == "setup"
        in_the_way.unlink()
        tracker.start()
        tracker.finish()
        assert len(list(offline.iterdir())) == 1

    def test_a_directory_that_can_not_be_written_is_named(
        self, offline: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refused(*args: object, **kwargs: object) -> None:
            raise PermissionError(13, "Permission denied", str(offline))

        with monkeypatch.context() as patched:
            patched.setattr(
                Path, "mkdir", refused
            )  # the tests may run as root, who is refused nothing
            tracker = ClearMLTracker("run")
            assert fault_of_starting(tracker, ClearMLSettingError, "CLEARML_CACHE_DIR") == "setup"

    def test_a_full_disk_may_pass_and_leaves_nothing(
        self, offline: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*args: object) -> None:
            raise OSError(28, "No space left on device")

        tracker = ClearMLTracker("run")
        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", full)
            assert fault_of_starting(tracker, OSError, "No space left") == "server"
        assert list(offline.iterdir()) == []

    def test_a_session_that_is_gone_is_missed_and_may_come_back(
        self, offline: Path, tmp_path: Path
    ) -> None:
        tracker = started()
        tracker.deliver([row(0, m=0.0)])
        folder = Path(str(tracker.identity()["offline_folder"]))
        folder.rename(tmp_path / "away")
        for record in (row(1, m=1.0), row(1, i=Image(DOTS)), Config({"a": 1}, NOW)):
            assert fault_of_delivering(tracker, record) == "run"
        assert not folder.exists()
        again = ClearMLTracker("project")
        again.resume(tracker.identity())
        assert fault_of_starting(again, ClearMLRunGoneError, "deleted or moved away") == "run"
        (tmp_path / "away").rename(folder)
        tracker.deliver([row(1, m=1.0)])
        tracker.finish()
        assert Seen(read_run(folder, download_to=tmp_path / "d")).values("m") == [0.0, 1.0]

    def test_a_batch_that_failed_in_the_middle_is_there_once(
        self, offline: Path, tmp_path: Path
    ) -> None:
        tracker = started()
        tracker.deliver([row(0, m=0.0, note="begin")])
        folder = Path(str(tracker.identity()["offline_folder"]))
        (folder / "log.jsonl").rename(folder / "log")
        (folder / "log.jsonl").mkdir()  # after the numbers, the lines of the console fail
        fault_of_delivering(tracker, row(1, m=1.0, note="text"))
        (folder / "log.jsonl").rmdir()
        (folder / "log").rename(folder / "log.jsonl")
        tracker.deliver([row(1, m=1.0, note="text")])
        tracker.finish()
        assert Seen(read_run(folder, download_to=tmp_path / "d")).values("m") == [0.0, 1.0]

    def test_several_processes_begin_at_once(self, offline: Path, tmp_path: Path) -> None:
        script = """if True:
            import os, sys
            from tracking_clearml import ClearMLTracker
            tracker = ClearMLTracker("run")
            os.read(int(sys.argv[1]), 1)  # returns when all are there
            tracker.start()
            tracker.log({"m": 1.0}, step=0)
            tracker.finish()
        """
        waiting, go = os.pipe()
        children = [
            subprocess.Popen(
                [sys.executable, "-W", "ignore", "-c", script, str(waiting)], pass_fds=[waiting]
            )
            for _ in range(8)
        ]
        os.close(waiting)
        os.close(go)
        assert [child.wait(120) for child in children] == [0] * 8
        folders = list(offline.iterdir())
        assert len(folders) == 8
        for folder in folders:
            found = Seen(read_run(folder, download_to=tmp_path / folder.name))
            assert (found.values("m"), found.status) == ([1.0], "finished")


class TestDelivery:
    @pytest.mark.parametrize("status", [200, 403, 404, 502])
    @pytest.mark.parametrize("endpoint", ["events.add_batch", "tasks.edit_configuration", "files"])
    def test_a_page_in_place_of_an_answer_costs_nothing(
        self, server: Server, tmp_path: Path, status: int, endpoint: str
    ) -> None:
        tracker = started()
        records: list[Record] = [Config({"a": 1}, NOW), row(1, m=1.0, i=Image(DOTS), note="text")]
        server.page = lambda called: status if called == endpoint else None
        assert fault_of_delivering(tracker, *records) == "server"
        server.page = lambda called: None
        tracker.deliver(records)
        tracker.finish()
        found = Seen(read_run(tracker.task_id, download_to=tmp_path))
        assert (found.values("m"), found.config, len(found.media("i"))) == ([1.0], {"a": 1}, 1)
        assert tracker.rejections.counts == {}

    def test_a_login_that_has_expired_is_the_logins(self, server: Server) -> None:
        tracker = started()
        server.answer = lambda endpoint: 401
        assert fault_of_delivering(tracker, row(0, m=1.0)) == "login"
        server.page = lambda endpoint: 200
        assert fault_of_delivering(tracker, row(0, m=1.0)) == "server"

    @pytest.mark.parametrize("what", ["deleted", "published"])
    def test_a_task_that_takes_no_more_costs_no_record(
        self, server: Server, tmp_path: Path, what: str
    ) -> None:
        tracker = started()
        tracker.deliver([row(0, m=0.0)])
        task = server.tasks[tracker.task_id]
        if what == "deleted":
            del server.tasks[tracker.task_id]
        else:
            task["status"] = "published"
        for record in (
            row(1, m=1.0),
            row(1, new=1.0),
            Config({"a": 1}, NOW),
            Tags({"t": None}, NOW),
        ):
            if what == "published" and isinstance(record, Tags):
                continue  # the server still takes those
            assert fault_of_delivering(tracker, record) == "run"
        with pytest.raises(ClearMLServerError) as raised:
            tracker.finish()
        assert tracker.fault(raised.value) == "run"
        assert tracker.rejections.counts == {}
        assert task["status"] == ("in_progress" if what == "deleted" else "published")
        server.tasks[tracker.task_id] = {**task, "status": "in_progress"}
        tracker.deliver([row(1, m=1.0), Config({"a": 1}, NOW)])
        tracker.finish()
        found = Seen(read_run(tracker.task_id, download_to=tmp_path))
        assert (found.values("m"), found.config) == ([0.0, 1.0], {"a": 1})

    @pytest.mark.parametrize("status", ["stopped", "completed", "failed"])
    def test_a_task_that_was_ended_from_elsewhere_runs_again(
        self, server: Server, tmp_path: Path, status: str
    ) -> None:
        tracker = started()
        server.tasks[tracker.task_id]["status"] = status  # as a server does after two silent hours
        tracker.deliver([Config({"a": 1}, NOW), row(1, new=1.0)])
        assert server.tasks[tracker.task_id]["status"] == "in_progress"
        tracker.finish()
        found = Seen(read_run(tracker.task_id, download_to=tmp_path))
        assert (found.values("new"), found.config, found.status) == ([1.0], {"a": 1}, "finished")

    @pytest.mark.parametrize("page", [False, True])
    def test_what_is_too_large_is_named_alone(
        self, server: Server, tmp_path: Path, page: bool
    ) -> None:
        tracker = started()

        def too_large(endpoint: str) -> int | None:
            return 413 if endpoint == "files" else None

        if page:
            server.page = too_large
        else:
            server.answer = too_large
        with pytest.warns(TrackingWarning, match="could not store 'i'.*413"):
            tracker.deliver([row(0, m=1.0, i=Image(DOTS))])
        tracker.finish()
        assert Seen(read_run(tracker.task_id, download_to=tmp_path)).values("m") == [1.0]

    def test_a_line_of_the_console_is_not_sent_again_after_it_was_taken(
        self, server: Server
    ) -> None:
        tracker = started()
        records = [row(step, note=f"text {step}") for step in range(700)]
        calls = iter(range(100))

        def fails_late(endpoint: str) -> int | None:
            # Two calls for the samples of 700 texts, then one of 500 lines; the last one fails.
            return 502 if endpoint == "events.add_batch" and next(calls) == 3 else None

        server.answer = fails_late
        assert fault_of_delivering(tracker, *records) == "server"
        assert len(server.events(tracker.task_id, "log")) == 500
        server.answer = lambda endpoint: None
        tracker.deliver(records)
        tracker.finish()
        said = [event["msg"] for event in server.events(tracker.task_id, "log")]
        assert said == [f"note [{step}]: text {step}" for step in range(700)]

    def test_tags_that_others_give_meanwhile_stay(self, server: Server) -> None:
        tracker = started(tags=["a"])
        tracker.set_tags({"team": "vision"})
        server.tasks[tracker.task_id]["tags"].append("theirs")
        tracker.set_tags({"team": "nlp"})
        tracker.finish()
        assert server.tasks[tracker.task_id]["tags"] == ["a", "theirs", "team: nlp"]

    def test_a_storage_that_clearml_can_not_use_is_named(
        self, server: Server, tmp_path: Path
    ) -> None:
        model = tmp_path / "model.bin"
        model.write_bytes(b"weights")
        tracker = started(output_uri="s3://bucket/place")
        with pytest.raises(ClearMLSettingError, match=r"output_uri.*clearml\.conf") as raised:
            tracker.deliver([row(0, model=Artifact(model))])
        assert tracker.fault(raised.value) == "setup"
        tracker.finish()


def test_the_program_that_recovers_a_run_says_nothing_of_it(
    offline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that never began: what the training's variables said counts, not those of today."""
    monkeypatch.setenv("CLEARML_TASK", "of the training")
    in_the_way = offline.parent
    in_the_way.write_text("in the way")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrackingWarning)
        tracking = Tracking("clearml", tmp_path / "logs", delivery="thread")
        tracking.init_trackers("project")
        tracking.log({"loss": 1.0}, step=0)
        run_dir = tracking.run_dir
        tracking.end_training(timeout=5)
    in_the_way.unlink()
    monkeypatch.setenv("CLEARML_TASK", "of the recovery")
    monkeypatch.setenv("CLEARML_TASK_ID", "offline-of-somebody-else")
    assert run_dir is not None
    Tracking.recover(run_dir)
    (folder,) = offline.iterdir()
    found = Seen(read_run(folder, download_to=tmp_path / "d"))
    assert found.values("loss") == [1.0]
    assert '"name": "of the training"' in (folder / "task.json").read_text()
