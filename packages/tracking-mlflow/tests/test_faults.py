"""Whose fault an error is, over the errors that MLflow, its databases and its servers really raise."""

from __future__ import annotations

import contextlib
import datetime
import http.server
import ipaddress
import json
import shutil
import socket
import sqlite3
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tracking_core.faults import Fault, fault_of_start
from tracking_core.records import Log, Tags
from tracking_core.testing import refusing
from tracking_mlflow import MLflowLoginError, MLflowSettingError, MLflowTracker
from tracking_mlflow.faults import fault_of_mlflow
from tracking_mlflow.settings import BOUNDED, QUIET, chosen, imported

PAGE = "<html><body>Please log in</body></html>"


def raised(call: Callable[[], object]) -> BaseException:
    with chosen(QUIET, BOUNDED), pytest.raises(Exception) as caught:  # which one is asked next
        call()
    return caught.value


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@contextlib.contextmanager
def answering(body: bytes, status: int = 200, kind: str = "application/json") -> Iterator[str]:
    """A server that gives everybody this answer."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_POST

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def logged(uri: str) -> Callable[[], object]:
    from mlflow.entities import Metric

    client = imported().MlflowClient(tracking_uri=uri)
    return lambda: client.log_batch("0" * 32, metrics=[Metric("m", 1.0, 1, 1)], synchronous=True)


# --- what a server says, and what a gateway says in its place ---


@pytest.mark.parametrize(
    ("status", "page", "fault"),
    [
        (200, PAGE, "server"),
        (401, "", "login"),
        (401, PAGE, "login"),
        (403, "", "login"),
        (403, PAGE, "server"),
        (404, "", "server"),
        (404, PAGE, "server"),
        (407, "", "login"),
        (408, "", "server"),
        (409, "", "run"),
        (413, "", "record"),
        (413, PAGE, "record"),
        (429, "", "server"),
        (500, "", "server"),
        (501, "", "server"),
        (502, PAGE, "server"),
        (503, PAGE, "server"),
        (504, "", "server"),
    ],
)
def test_an_answer_that_is_not_mlflows(status: int, page: str, fault: Fault) -> None:
    port = free_port()
    call = logged(f"http://127.0.0.1:{port}")
    with refusing(port, status, page):
        assert fault_of_mlflow(raised(call)) == fault


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ({"error_code": "INVALID_PARAMETER_VALUE", "message": "Invalid value for key"}, "record"),
        ({"error_code": "INVALID_PARAMETER_VALUE", "message": "The run 1 must be in the 'active' state."}, "run"),
        ({"error_code": "INVALID_PARAMETER_VALUE", "message": "The run 1 must be in 'active' lifecycle_stage."}, "run"),
        ({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Run with id=1 not found"}, "run"),
        ({"error_code": "BAD_REQUEST", "message": "(sqlite3.IntegrityError) FOREIGN KEY"}, "record"),
        ({"error_code": "BAD_REQUEST", "message": "(pymysql.err.DataError) (1406, 'Data too long')"}, "record"),
        ({"error_code": "BAD_REQUEST", "message": "QueuePool limit of size 5 overflow 10 reached"}, "run"),
        ({"error_code": "PERMISSION_DENIED", "message": "Permission denied"}, "login"),
        ({"error_code": "UNAUTHENTICATED", "message": "Credential was not sent"}, "login"),
        ({"error_code": "RESOURCE_LIMIT_EXCEEDED", "message": "too many metrics"}, "run"),
        ({"error_code": "FEATURE_DISABLED", "message": "no"}, "run"),
        ({"message": "no Route matched with those values"}, "server"),
        ({"message": "Forbidden"}, "login"),
        ({"message": "Unauthorized"}, "login"),
        ({"detail": "Not Found"}, "server"),
    ],
)  # fmt: skip
def test_an_answer_in_json(answer: dict[str, str], fault: Fault) -> None:
    with answering(json.dumps(answer).encode(), 400) as uri:
        assert fault_of_mlflow(raised(logged(uri))) == fault


def test_nobody_there_and_nobody_answering() -> None:
    assert fault_of_mlflow(raised(logged(f"http://127.0.0.1:{free_port()}"))) == "server"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        call = logged(f"http://127.0.0.1:{silent.getsockname()[1]}")
        impatient = {"MLFLOW_HTTP_REQUEST_TIMEOUT": 1, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": 0}
        with chosen(impatient), pytest.raises(imported().exceptions.MlflowException) as caught:
            call()
    assert fault_of_mlflow(caught.value) == "server"
    assert fault_of_mlflow(raised(logged("http://no-such-host.invalid:5000"))) == "server"


@pytest.mark.parametrize("status", [200, 400, 404, 413, 500])
def test_an_upload_that_a_page_answers(status: int, tmp_path: Path) -> None:
    from mlflow.store.artifact.http_artifact_repo import HttpArtifactRepository

    (tmp_path / "model.bin").write_bytes(b"weights")
    with answering(PAGE.encode(), status, "text/html") as uri:
        repository = HttpArtifactRepository(f"{uri}/api/2.0/mlflow-artifacts/artifacts/1/2")
        error = raised(lambda: repository.log_artifact(str(tmp_path / "model.bin")))
    assert fault_of_mlflow(error) == ("record" if status == 413 else "server")


@pytest.mark.parametrize("body", [b"", b"{}", b' {"a": 1}\n'])
def test_an_upload_that_mlflow_answers(body: bytes, tmp_path: Path) -> None:
    from mlflow.store.artifact.http_artifact_repo import HttpArtifactRepository

    (tmp_path / "model.bin").write_bytes(b"weights")
    with answering(body, 200) as uri, chosen(QUIET):
        repository = HttpArtifactRepository(f"{uri}/api/2.0/mlflow-artifacts/artifacts/1/2")
        repository.log_artifact(str(tmp_path / "model.bin"))


def test_uploads_of_the_users_own_are_left_alone(tmp_path: Path) -> None:
    from mlflow.store.artifact.http_artifact_repo import HttpArtifactRepository

    imported()
    (tmp_path / "model.bin").write_bytes(b"weights")
    with answering(PAGE.encode(), 200, "text/html") as uri:
        repository = HttpArtifactRepository(f"{uri}/api/2.0/mlflow-artifacts/artifacts/1/2")
        repository.log_artifact(str(tmp_path / "model.bin"))  # as MLflow has it


# --- what a start can't do, and what mends it ---


def start_error(uri: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Fault, str]:
    """Whose fault a start at `uri` says it is, and what it says."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    tracker = MLflowTracker("exp")
    with pytest.raises(Exception) as caught:  # which one is asked next
        tracker.start()
    return fault_of_start(tracker.fault(caught.value), caught.value), str(caught.value)


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("foo://bar", "set MLFLOW_TRACKING_URI to a database"),
        ("http:///nohost", "names no host: set MLFLOW_TRACKING_URI to one like"),
        ("http://", "names no host: set MLFLOW_TRACKING_URI to one like"),
        ("postgresql+nosuchdriver://h/d", "set MLFLOW_TRACKING_URI to a database"),
        ("mssql+pyodbc://h/d", "install the Python module 'pyodbc'"),
        ("sqlite:////proc/mlflow.db", "can't be written: get the right to"),
        ("sqlite:////proc/no/such/mlflow.db", "can't be written: get the right to"),
    ],
)
def test_an_address_that_is_no_good(uri: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fault, said = start_error(uri, monkeypatch)
    assert fault == "setup", said
    assert words in said


def test_a_file_that_is_no_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m.db").write_bytes(b"something else " * 1000)
    fault, said = start_error(f"sqlite:///{tmp_path}/m.db", monkeypatch)
    assert (fault, "is no SQLite database" in said) == ("setup", True)


def test_a_database_of_an_older_mlflow(
    migrated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copyfile(migrated, tmp_path / "m.db")
    with contextlib.closing(sqlite3.connect(tmp_path / "m.db")) as database:
        database.execute("UPDATE alembic_version SET version_num = '0c779009ac13'")
        database.commit()
    fault, said = start_error(f"sqlite:///{tmp_path}/m.db", monkeypatch)
    assert (fault, "run `mlflow db upgrade sqlite:///" in said) == ("setup", True)


def certificate(directory: Path) -> tuple[Path, Path]:
    """A certificate that nobody has signed, and its key."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mlflow")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .sign(key, hashes.SHA256())
    )
    files = directory / "cert.pem", directory / "key.pem"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


def test_a_certificate_that_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate(tmp_path))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        fault, said = start_error(f"https://127.0.0.1:{server.server_port}", monkeypatch)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert (fault, "MLFLOW_TRACKING_SERVER_CERT_PATH" in said) == ("setup", True)
    with answering(b"{}") as uri:
        fault, said = start_error(uri.replace("http://", "https://"), monkeypatch)
    assert (fault, "MLFLOW_TRACKING_URI has to begin with http://" in said) == ("setup", True)
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(tmp_path / "none.pem"))
    fault, said = start_error("https://127.0.0.1:1", monkeypatch)
    assert (fault, "MLFLOW_TRACKING_SERVER_CERT_PATH" in said) == ("setup", True)


def test_a_refused_login_names_what_logs_in(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    with refusing(port, 401):
        fault, said = start_error(f"http://me:secret@127.0.0.1:{port}", monkeypatch)
    assert (fault, "MLFLOW_TRACKING_TOKEN" in said, "secret" in said) == ("login", True, False)


def test_our_own_errors() -> None:
    assert fault_of_mlflow(MLflowSettingError("x")) == "setup"
    assert fault_of_mlflow(MLflowLoginError("x")) == "login"


# --- databases and directories ---


def test_a_locked_database_and_one_that_can_not_be_written(store: str) -> None:
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import OperationalError

    for words, fault in [
        ("database is locked", "server"),
        ("disk I/O error", "server"),
        ("database or disk is full", "server"),
        ("attempt to write a readonly database", "setup"),
        ("unable to open database file", "setup"),
        ("no such table: runs", "run"),
        ("(1045, \"Access denied for user 'me'@'host'\")", "login"),
        ('FATAL: password authentication failed for user "me"', "login"),
        ("connection to server at 127.0.0.1 failed: Connection refused", "server"),
    ]:
        error = MlflowException(words)
        error.__cause__ = OperationalError("insert", {}, sqlite3.OperationalError(words))
        assert fault_of_mlflow(error) == fault, words


def test_a_database_without_its_tables(store: str) -> None:
    tracker = MLflowTracker("exp")
    tracker.start()
    with contextlib.closing(sqlite3.connect(store.removeprefix("sqlite:///"))) as database:
        database.execute("DROP TABLE metrics")
        database.commit()
    error = raised(lambda: tracker.deliver([Log({"m": 1.0}, 1, 1, 1.0)]))
    assert tracker.fault(error) == "run"


def test_a_run_of_a_directory_that_was_removed(directory: str) -> None:
    tracker = MLflowTracker("exp")
    tracker.start()
    shutil.rmtree(directory.removeprefix("file://"))
    error = raised(lambda: tracker.deliver([Log({"m": 1.0}, 1, 1, 1.0)]))
    assert tracker.fault(error) in ("run", "server")
    assert tracker.rejections.counts == {}


def test_a_name_that_is_in_the_way_blames_the_record(directory: str) -> None:
    tracker = MLflowTracker("exp")
    tracker.start()
    client, run_id = tracker._store.client, tracker.identity()["run_id"]  # type: ignore[union-attr]  # it is open
    client.set_tag(run_id, "a/b", "1")
    assert fault_of_mlflow(raised(lambda: client.log_batch(run_id, tags=[_tag("a")]))) == "record"
    assert (
        fault_of_mlflow(raised(lambda: client.log_batch(run_id, tags=[_tag("損" * 100)])))
        == "record"
    )
    tracker.deliver([Tags({"a": "2"}, 1.0)])
    assert client.get_run(run_id).data.tags["a_x_"] == "2"


def _tag(name: str) -> Any:
    from mlflow.entities import RunTag

    return RunTag(name, "1")


# --- where a server keeps artifacts ---


def test_what_amazons_library_raises() -> None:
    exceptions = pytest.importorskip("botocore.exceptions")

    def answer(code: str, status: int) -> BaseException:
        said = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
        return exceptions.ClientError(said, "PutObject")  # type: ignore[no-any-return]  # it is one

    assert fault_of_mlflow(exceptions.NoCredentialsError()) == "login"
    assert fault_of_mlflow(answer("AccessDenied", 403)) == "login"
    assert fault_of_mlflow(answer("ExpiredToken", 400)) == "login"
    assert fault_of_mlflow(answer("InvalidAccessKeyId", 403)) == "login"
    assert fault_of_mlflow(answer("NoSuchBucket", 404)) == "run"
    assert fault_of_mlflow(answer("SlowDown", 503)) == "server"
    assert fault_of_mlflow(exceptions.NoRegionError()) == "setup"
    unreachable = exceptions.EndpointConnectionError(endpoint_url="http://s3")
    assert fault_of_mlflow(unreachable) == "server"
    assert fault_of_mlflow(ModuleNotFoundError("No module named 'boto3'", name="boto3")) == "setup"
