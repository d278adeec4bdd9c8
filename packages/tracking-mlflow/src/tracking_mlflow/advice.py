"""What a person has to do about an error that can't pass, in one sentence: `explained`."""

from __future__ import annotations

import re

from tracking_core.faults import errors_behind, fault_of_start
from tracking_core.network import proxy_for, remedy_of
from tracking_core.redaction import redacted
from tracking_mlflow.faults import fault_of_mlflow
from tracking_mlflow.settings import MLflowLoginError, MLflowSettingError
from tracking_mlflow.stores import without_password

__all__ = ["explained"]

ADDRESS = "MLFLOW_TRACKING_URI"
CERTIFICATES = "MLFLOW_TRACKING_SERVER_CERT_PATH"
LONGEST = 300  # characters of what the library said


def explained(error: Exception, uri: str) -> Exception:
    """`error`, which a start at `uri` raised, or one that says which setting mends it."""
    if isinstance(error, (MLflowSettingError, MLflowLoginError)):
        return error
    if uri.startswith("http") and (remedy := _remedy(error, uri)):
        return MLflowSettingError(_sentence(error, uri, "can't be logged to", remedy))
    fault = fault_of_start(fault_of_mlflow(error), error)
    if fault == "login":
        return MLflowLoginError(_sentence(error, uri, "does not let you in", _login(uri)))
    if fault == "setup":
        return MLflowSettingError(_sentence(error, uri, "can't be logged to", _setup(error, uri)))
    return error


def _sentence(error: Exception, uri: str, what: str, remedy: str) -> str:
    said = " ".join(str(redacted(str(error))).split())
    said = said if len(said) <= LONGEST else said[: LONGEST - 1] + "…"
    return f"tracker 'mlflow': {without_password(uri)} {what}: {remedy} ({type(error).__name__}: {said})"


def _remedy(error: Exception, uri: str) -> str | None:
    proxied = proxy_for(uri) is not None
    return remedy_of(error, ADDRESS, certificates=CERTIFICATES, proxied=proxied)


def _login(uri: str) -> str:
    if uri.startswith("http"):
        return (
            "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, "
            "to those of somebody who may log there"
        )
    if uri.startswith("databricks"):
        return "set DATABRICKS_HOST and DATABRICKS_TOKEN, or log in with `databricks auth login`"
    return "check the user and the password in MLFLOW_TRACKING_URI"


def _setup(error: Exception, uri: str) -> str:
    behind = list(errors_behind(error))
    said = " ".join(map(str, behind))
    if missing := [one.name for one in behind if isinstance(one, ImportError) and one.name]:
        return (
            f"install the Python module {missing[0]!r}, which that address needs, or name another "
            "driver in MLFLOW_TRACKING_URI, such as postgresql+psycopg:// or mysql+pymysql://"
        )
    if re.search("CERTIFICATE|TLS C", said, re.IGNORECASE):
        return (
            "set MLFLOW_TRACKING_SERVER_CERT_PATH to the certificate of who signed the server's, or "
            "MLFLOW_TRACKING_INSECURE_TLS=true to trust any"
        )
    if "out-of-date database schema" in said:
        return (
            f"make a backup and run `mlflow db upgrade {without_password(uri)}`, or install the "
            "MLflow that made it"
        )
    if re.search(
        "unable to open database|read-?only|Permission denied|No such file|Errno 30", said
    ):
        return (
            "the directory or the file can't be written: get the right to, or set "
            "MLFLOW_TRACKING_URI to another place"
        )
    if "malformed" in said or "not a database" in said:
        return "move the file away, or set MLFLOW_TRACKING_URI to another one"
    if not re.search(
        "unsupported uri|load plugin|could not parse|no host was", said, re.IGNORECASE
    ):
        return (
            "look at what is said, and at the arguments and variables that it speaks of: "
            "experiment_name (MLFLOW_EXPERIMENT_NAME), logging_dir, tags, run_id (MLFLOW_RUN_ID), "
            "MLFLOW_TRACKING_URI"
        )
    return (
        "set MLFLOW_TRACKING_URI to a database, such as sqlite:///mlflow.db, to the address of a "
        "server, such as http://localhost:5000, or to a scheme that an installed plugin of MLflow has"
    )
