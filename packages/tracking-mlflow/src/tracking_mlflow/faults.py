"""Whose fault an error is that MLflow raises: `fault_of_mlflow`.

MLflow says nearly everything by one exception with an error code, and by the code INTERNAL_ERROR
whatever it did not think of: what it was raised from comes first, then the code, then the text.
"""

from __future__ import annotations

import errno
import re
import ssl
from typing import Any

from tracking_core.faults import TOO_LARGE, Fault, errors_behind, fault_of, status_of
from tracking_mlflow.settings import MLflowLoginError, MLflowSettingError

__all__ = ["PATH_ERRORS", "fault_of_mlflow"]

CODES: dict[str, Fault] = {
    "INVALID_PARAMETER_VALUE": "record",
    "MALFORMED_REQUEST": "record",
    "UNAUTHENTICATED": "login",
    "CUSTOMER_UNAUTHORIZED": "login",
    "PERMISSION_DENIED": "login",
    "ABORTED": "server",
    "CANCELLED": "server",
    "COULD_NOT_ACQUIRE_LOCK": "server",
    "DATA_LOSS": "server",
    "DEADLINE_EXCEEDED": "server",
    "INTERNAL_ERROR": "server",
    "IO_ERROR": "server",
    "QUOTA_EXCEEDED": "server",
    "REQUEST_LIMIT_EXCEEDED": "server",
    "RESOURCE_EXHAUSTED": "server",
    "SERVICE_UNDER_MAINTENANCE": "server",
    "TEMPORARILY_UNAVAILABLE": "server",
    "UNPARSEABLE_HTTP_ERROR": "server",
    "WORKSPACE_TEMPORARILY_UNAVAILABLE": "server",
}
"""Faults by MLflow's error codes; any other, such as RESOURCE_DOES_NOT_EXIST, is the run's."""

# A name that a directory can't hold, or not beside what is there.
PATH_ERRORS = frozenset({errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG, errno.ENOTDIR})

# INVALID_PARAMETER_VALUE too is what a deleted run or experiment has for an answer.
_RUN = re.compile(
    r"must be in (the )?'active'|non-active experiment|for parameter 'run_id'", re.IGNORECASE
)
_VALUE_IN_SQL = re.compile(
    r"\b(DataError|IntegrityError|StringDataRightTruncation|NumericValueOutOfRange)\b"
)
_LOGIN = re.compile(
    r"unauthori[sz]ed|unauthenticated|forbidden|access.?denied|authenticat|credential|log.?in\b"
    r"|password|expired.?token|invalid.?(access.?key|token)|not authori[sz]ed",
    re.IGNORECASE,
)
_SETUP = re.compile(
    r"out-of-date database schema|disabled due to the mlflow server running|unsupported uri"
    r"|invalid url|no host was defined|SQLite >=",
    re.IGNORECASE,
)
_HTTP = re.compile(r"failed with error code (\d{3}) != \d{3}\. Response body: '(.?)", re.DOTALL)
_TLS = re.compile(
    r"CERTIFICATE_VERIFY_FAILED|WRONG_VERSION_NUMBER|TLS CA certificate|TLS certificate file"
)
# Of the libraries of Amazon, Google and Microsoft, where a server may keep artifacts.
_LOGIN_NAMES = frozenset(
    {
        "ClientAuthenticationError",
        "Forbidden",
        "PermissionDenied",
        "Unauthenticated",
        "Unauthorized",
    }
)
_SETUP_NAMES = frozenset({"NoRegionError", "ParamValidationError", "ProfileNotFound"})

# Of a database, in the words of SQLite, PostgreSQL and MySQL.
_LOGIN_OF_DATABASE = re.compile(
    r"access denied for|password authentication|no pg_hba|login failed", re.IGNORECASE
)
_SETUP_OF_DATABASE = re.compile(
    r"unable to open database file|readonly database|read-only|malformed|not a database"
    r"|unknown database|no such column|database \S+ does not exist",
    re.IGNORECASE,
)
_NO_TABLE = re.compile(r"no such table|doesn't exist|does not exist", re.IGNORECASE)


def fault_of_mlflow(error: BaseException) -> Fault:
    """Whose fault `error` is, raised by MLflow or by what it calls."""
    behind = list(errors_behind(error))
    for cause in behind:
        if isinstance(cause, (MLflowSettingError, MLflowLoginError)):
            return cause.fault
    # The innermost first: what is around it, MLflow has made of it.
    for cause in reversed(behind):
        fault = _fault_by_itself(cause)
        if fault is not None:
            return fault
    return fault_of(error)


def _fault_by_itself(error: BaseException) -> Fault | None:
    library = type(error).__module__.partition(".")[0]
    names = {kind.__name__ for kind in type(error).__mro__}
    if library == "mlflow":
        return _fault_of_code(error)
    if library in ("sqlalchemy", "sqlite3"):
        return _fault_of_database(error, names)
    if library == "requests":
        return _fault_of_request(error, names)
    if isinstance(error, ssl.SSLError):
        return "setup" if _TLS.search(str(error)) else "server"
    if isinstance(error, OSError) and library == "builtins":
        if _TLS.search(str(error)):
            return "setup"
        if error.errno in PATH_ERRORS:
            return "record"
        return "run" if isinstance(error, FileNotFoundError) else fault_of(error)
    if isinstance(error, ImportError) or names & _SETUP_NAMES:
        return "setup"
    if names & _LOGIN_NAMES or any("Credential" in name for name in names):
        return "login"
    return _fault_of_amazon(error) if "ClientError" in names else None


def _fault_of_code(error: Any) -> Fault | None:
    code, said = getattr(error, "error_code", None), str(error)
    if code is None:
        return None
    if _SETUP.search(said) or "InvalidUrl" in type(error).__name__:
        return "setup"
    answer = getattr(error, "json", None)
    if isinstance(answer, dict) and not answer.get("error_code"):
        # JSON, but not MLflow's: a gateway stands before the server, or another server there.
        return "login" if _LOGIN.search(said) else "server"
    if found := _HTTP.search(said):
        return _fault_of_status(int(found[1]), is_page=found[2] == "<")
    if code in ("INVALID_PARAMETER_VALUE", "BAD_REQUEST") and _RUN.search(said):
        return "run"
    if code == "BAD_REQUEST":
        return "record" if _VALUE_IN_SQL.search(said) else "run"
    return CODES.get(code, "run")


def _fault_of_status(status: int, *, is_page: bool) -> Fault:
    """Of an answer that MLflow's own server does not give: its errors are JSON."""
    if status in TOO_LARGE:
        return "record"
    if status in (401, 402, 407) or (status == 403 and not is_page):
        return "login"
    return "run" if status in (400, 405, 409, 410, 422) and not is_page else "server"


def _fault_of_request(error: BaseException, names: set[str]) -> Fault | None:
    status = status_of(error)
    if status is not None:
        return fault_of(error)  # it knows pages from answers
    if names & {"InvalidSchema", "MissingSchema", "InvalidURL", "InvalidProxyURL"}:
        return "setup"
    if "ProxyError" in names and "407" in str(error):
        return "login"
    # It was raised from an error of the standard library, whose words it repeats.
    return "setup" if _TLS.search(str(error)) else "server"


def _fault_of_database(error: BaseException, names: set[str]) -> Fault | None:
    said = str(error)
    if names & {"NoSuchModuleError", "ArgumentError"}:
        return "setup"
    if _LOGIN_OF_DATABASE.search(said):
        return "login"
    if _SETUP_OF_DATABASE.search(said):
        return "setup"
    if _NO_TABLE.search(said):
        return "run"
    if names & {"DataError", "IntegrityError"}:
        return "record"
    if names & {"OperationalError", "InterfaceError", "TimeoutError", "DisconnectionError"}:
        return "server"
    return "run"


def _fault_of_amazon(error: BaseException) -> Fault | None:
    answer = getattr(error, "response", None)
    if not isinstance(answer, dict):
        return None
    if _LOGIN.search(str(answer.get("Error", ""))):
        return "login"
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return "run" if status in (400, 404) else "server"
