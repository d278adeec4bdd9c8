"""Secrets stay out of the journal: known by what they are called, and by what they look like.

Configurations, tags, arguments and texts of errors go through here before anything is written.
What is logged as a metric does not: there, a name says what was measured.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Any

__all__ = ["MASK", "is_masked", "redacted", "unmasked"]

MASK = "***"


def redacted(value: Any, name: str = "") -> Any:
    """`value` with secrets masked: what keys like ``api_key`` hold, and what is one by its form.

    >>> redacted({"lr": 0.1, "api_key": "k", "max_tokens": 5, "url": "http://me:pw@host"})
    {'lr': 0.1, 'api_key': '***', 'max_tokens': 5, 'url': 'http://me:***@host'}
    >>> redacted(["train.py", "--token", "t", "--lr=0.1", "WANDB_API_KEY=k"])
    ['train.py', '--token', '***', '--lr=0.1', 'WANDB_API_KEY=***']
    """
    if name and _is_worth_masking(value) and _names_a_secret(name) and not _is_word(name, value):
        return MASK
    if isinstance(value, dict):
        return _redacted_fields(value)
    if isinstance(value, (list, tuple)):
        return _redacted_items(value)
    if isinstance(value, str):
        return _masked(value)
    return value


def unmasked(value: Any) -> Any:
    """`value` without what `redacted` has masked, so that a library looks for it elsewhere."""
    if isinstance(value, dict):
        return {key: unmasked(inner) for key, inner in value.items() if inner != MASK}
    return value


def is_masked(value: Any) -> bool:
    """Whether something in `value` was masked, so that it is not what it was."""
    if isinstance(value, dict):
        return any(is_masked(inner) for inner in value.values())
    if isinstance(value, (list, tuple)):
        return any(is_masked(inner) for inner in value)
    return isinstance(value, str) and MASK in value


def _redacted_fields(fields: dict[Any, Any]) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    # As environments are often written: {"name": "WANDB_API_KEY", "value": "..."}.
    named = next((fields[key] for key in ("name", "key", "Name", "Key") if key in fields), None)
    for key, value in fields.items():
        is_value = isinstance(named, str) and key in ("value", "Value")
        shown = _masked(key) if type(key) is str else key
        while shown in found:
            shown += "'"
        found[shown] = redacted(value, str(named if is_value else shown))
    return found


def _redacted_items(items: list[Any] | tuple[Any, ...]) -> list[Any]:
    found: list[Any] = []
    option = ""
    for item in items:
        is_option = isinstance(item, str) and item.startswith("-")
        found.append(redacted(item, "" if is_option else option))
        option = item.lstrip("-") if is_option and "=" not in item else ""
    return found


def _is_worth_masking(value: Any) -> bool:
    """Whether a secret's name with this value gives anything away; ``use_auth_token=True`` doesn't."""
    return value is not None and type(value) is not bool and value not in ("", [], {}, ())


# --- names ---


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ALWAYS = _words(
    "secret secrets password passwords passwd passphrase passphrases passcode passcodes pwd "
    "credential credentials cred creds auth authorization jwt jwts bearer cookie cookies"
)
_SERVICES = _words(
    "openai anthropic wandb comet cometml hf huggingface aws azure gcp google github gitlab "
    "bitbucket slack discord clearml neptune swanlab dagshub cohere mistral mistralai groq replicate "
    "stripe twilio sendgrid pinecone serpapi serper tavily langchain langsmith deepseek gemini "
    "perplexity fireworks voyage jina roboflow kaggle firebase supabase algolia datadog newrelic "
    "sentry ngrok runpod deepgram elevenlabs nvidia ngc cerebras xai openrouter rapidapi mailgun "
    "telegram dropbox heroku digitalocean cloudflare vercel netlify npm pypi llm ai"
)
_KINDS_OF_KEYS = _SERVICES | _words(
    "api access secret private ssh encryption decryption signing auth account service master deploy "
    "license subscription consumer session application app gpg pgp rsa dsa aes hmac fernet"
)
_KINDS_OF_TOKENS = _words("access api auth oauth refresh bearer secret security personal")
_KINDS_OF_PASSES = _words(
    "db database user mysql postgres redis mongo smtp mail email ftp sftp http proxy admin root "
    "login ldap sudo git registry"
)
# What tokenizers and models call their special texts, and what is counted by the token.
_VOCABULARY = _words(
    "pad eos bos unk sep cls mask stop start end image audio video special speech text vision frame "
    "time separator padding unknown masked blank space newline word sub subword first last next new "
    "prev previous current total prefix suffix middle fim begin per each max min num n eot eod boi "
    "eoi soh eoh sos think tool target source src tgt lang language class patch object register "
    "learnable global summary dist input output prompt query question answer context sentence "
    "document passage noise latent memory control ignore default unused reserved extra additional "
    "task domain style speaker"
)
# One word as it is written without anything between: `accesstoken`.
_ENDINGS = tuple(
    word + plural
    for word in (
        *("password", "passwd", "passphrase", "secret", "credential", "authorization"),
        *(f"{kind}key" for kind in ("api", "access", "secret", "private", "ssh", "encryption")),
        *(f"{kind}token" for kind in _KINDS_OF_TOKENS | {"session", "csrf", "xsrf"}),
        *("connectionstring", "connstring", "connstr"),
    )
    for plural in ("", "s")
)
_SERVICES_OWN = frozenset(
    f"{service}{what}" for service in _SERVICES - {"ai"} for what in ("key", "token")
)
# What may follow and says which one it is.
_WHICH = _words("prod production dev staging live sandbox old new backup plain raw")

_BETWEEN = re.compile(r"[^A-Za-z0-9]+|(?<=[A-Za-z])(?=[0-9])|(?<=[0-9])(?=[A-Za-z])")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_CAMEL_AND_ACRONYMS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def _names_a_secret(name: str) -> bool:
    """Whether a name ends like that of a secret; ``tokens`` and ``max_tokens`` are counts."""
    name = name[-200:]
    return any(
        _end_like_a_secret([word.lower() for word in _BETWEEN.split(spaced) if word])
        for spaced in {camel.sub("_", name) for camel in (_CAMEL, _CAMEL_AND_ACRONYMS)}
    )


def _end_like_a_secret(words: list[str]) -> bool:
    while words:
        last, before = words[-1], words[-2] if len(words) > 1 else ""
        if last in _ALWAYS or last in _SERVICES_OWN or last.endswith(_ENDINGS):
            return True
        if last == "token":
            return before not in _VOCABULARY
        if (
            (last == "tokens" and before in _KINDS_OF_TOKENS)
            or (last in ("key", "keys") and before in _KINDS_OF_KEYS)
            or (last in ("pass", "pw") and before in _KINDS_OF_PASSES)
            or (last in ("string", "str") and before in ("connection", "conn"))
        ):
            return True
        if not (last.isdigit() or last in _WHICH):
            return False
        words = words[:-1]
    return False


_SPECIAL_TOKEN = re.compile(r"<[^<>\s]{0,40}>|\[[A-Z]{1,20}\d{0,3}\]")


def _is_word(name: str, value: Any) -> bool:
    """Whether a value is a word of a vocabulary, such as ``<|endoftext|>``, under some token's name."""
    return (
        _may_be_vocabulary(name)
        and isinstance(value, str)
        and _SPECIAL_TOKEN.fullmatch(value) is not None
    )


def _may_be_vocabulary(name: str) -> bool:
    return name.lower().endswith("token")


# --- texts ---

_PASSWORD_IN_URL = re.compile(r"(?<=://)([^/\s:@]*):([^/\s]+)(?=@)")
# With other schemes, as of ssh and databases, what stands there alone is a user's name.
_TOKEN_IN_URL = re.compile(r"\b((?:git\+)?https?|wss?)://(?!git@)[^/\s:@?#]+(?=@[^\s/])", re.I)
_HEADER = re.compile(
    r"""([\w-]{0,40}authorization\\?["']?\s*[:=]\s*\\?["']?(?:[a-z][\w-]*[ ]+)?)[^\s"',;}\\]+""",
    re.I,
)
_COOKIES = re.compile(r"""\b((?:set-)?cookies?["']?\s*:\s*["']?)[^\r\n"']+""", re.I)
_BEARER = re.compile(r"\b(bearer)(\s+)([A-Za-z0-9._~+/=-]{6,})", re.I)
_BASIC = re.compile(r"\b(basic)(\s+)([A-Za-z0-9+/]{4,}={0,2})(?![\w+/=])", re.I)
_PROSE = _words("authentication authorization header headers format scheme tokens")
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"
    r"(?:.*?-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|.*\Z)",
    re.DOTALL,
)
_KNOWN_SHAPES = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"gh[oprsu]_[A-Za-z0-9]{16,}|github_pat_\w{16,}"
    r"|gl(?:pat|ptt|dt|rt|cbt|soat|ft|agent)-[\w-]{16,}"
    r"|sk-(?:proj|ant|or|svcacct|admin|live|test|lf)-[\w-]{8,}|sk-[A-Za-z0-9]{16,}"
    r"|[sr]k_(?:live|test)_[A-Za-z0-9]{8,}|whsec_[A-Za-z0-9]{16,}"
    r"|hf_[A-Za-z0-9]{20,}|api_org_[A-Za-z0-9]{20,}"
    r"|(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])"
    r"|xox[a-z]-[\w-]{8,}|xapp-[\w-]{8,}"
    r"|AIza[\w-]{30,}|GOCSPX-[\w-]{16,}|ya29\.[\w-]{16,}"
    r"|eyJ[\w-]{6,4000}\.[\w-]{6,}(?:\.[\w-]*)?|eyJ[A-Za-z0-9+/_-]{60,}={0,2}"
    r"|wandb_v\d_\w{16,}|gsk_[A-Za-z0-9]{20,}|r8_[A-Za-z0-9]{20,}|pplx-[A-Za-z0-9]{20,}"
    r"|xai-[A-Za-z0-9]{20,}|nvapi-[\w-]{20,}|lsv2_[a-z]{2}_\w{16,}|pcsk_\w{16,}|hvs\.[\w-]{16,}"
    r"|dapi[0-9a-f]{32}|dop_v1_[0-9a-f]{32,}|npm_[A-Za-z0-9]{30,}|pypi-[\w-]{40,}"
    r"|SG\.[\w-]{16,80}\.[\w-]{16,}|sh(?:pat|ppa|pca|pss)_[0-9a-fA-F]{32}|\d{8,10}:AA[\w-]{32,}"
    r"|AGE-SECRET-KEY-1[A-Z0-9]{20,}"
    r")"
)
_WEBHOOK = re.compile(
    r"(https?://(?:hooks\.slack\.com/(?:services|workflows)/|discord(?:app)?\.com/api/webhooks/))[\w/-]+",
    re.I,
)
# What stands before a value: `--api_key=`, `"password": `, `?token=`, `PWD=`.
_NAMED = re.compile(
    r"""(?<![\w.\-])-*((?:(?i:api|access|secret|private|auth|refresh)[ ])?[A-Za-z_][\w.\-]{0,200})"""
    r"""(\\?["'])?[ \t]*(=|:(?!//))[ \t]*"""
)
_OPTION = re.compile(r"(?<![\w\-])--?([A-Za-z][\w.\-]{0,200})[ \t]+(?!-)")
_VALUE = re.compile(
    r"""[bru]{0,2}\\?"(?P<double>[^"\\\n]*)|[bru]{0,2}\\?'(?P<single>[^'\\\n]*)"""
    r"""|(?P<bare>[^\s"'&,;)\]}]+)"""
)
_WHOLE = re.compile(r"\s*-*([A-Za-z_][\w.\-/]{0,200})=(\S+)\s*")
_SHORTEST_SHAPE = 16
_TELLING = re.compile(r"[=:\s]")
_NO_SECRETS = frozenset(["", "none", "null", "true", "false", "yes", "no", MASK])
# Of an address that was signed; elsewhere such a name means something else.
_SIGNATURES = frozenset(["sig", "signature", "x-amz-signature", "x-goog-signature"])


def _masked(text: str) -> str:
    """`text` without the secrets that are written in it."""
    if len(text) < _SHORTEST_SHAPE and not _TELLING.search(text):
        return text
    if "://" in text:
        text = _PASSWORD_IN_URL.sub(rf"\1:{MASK}", text)
        text = _TOKEN_IN_URL.sub(rf"\1://{MASK}", text)
        text = _WEBHOOK.sub(rf"\1{MASK}", text)
    text = _PRIVATE_KEY.sub(MASK, text)
    text = _KNOWN_SHAPES.sub(MASK, text)
    text = _HEADER.sub(rf"\1{MASK}", text)
    text = _COOKIES.sub(rf"\1{MASK}", text)
    text = _BEARER.sub(_bearer, text)
    text = _BASIC.sub(_basic, text)
    whole = _WHOLE.fullmatch(text)
    if (
        whole
        and _names_a_secret(whole[1])
        and not (_is_harmless(whole[2]) or _is_word(whole[1], whole[2]))
    ):
        return f"{text[: whole.start(2)]}{MASK}"
    if "=" in text or ":" in text or "-" in text:
        text = _cut(text, _spans(text))
    return text


def _cut(text: str, spans: Iterator[tuple[int, int]]) -> str:
    parts = []
    at = 0
    for start, end in sorted(spans):
        if start >= at:
            parts += [text[at:start], MASK]
            at = end
    return "".join([*parts, text[at:]])


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Where in `text` values stand that have the name of a secret."""
    for named in _NAMED.finditer(text):
        name, quote, sign = named.groups()
        if name.lower().endswith("authorization") or (sign == ":" and "cookie" in name.lower()):
            continue  # a header, which has been dealt with
        in_query = text[named.start() - 1 : named.start()] in ("?", "&")
        if _names_a_secret(name) or (in_query and name.lower() in _SIGNATURES):
            may_be_prose = sign == ":" and not quote
            yield from _value(text, named.end(), name, may_be_prose)
    for option in _OPTION.finditer(text):
        if _names_a_secret(option[1]):
            yield from _value(text, option.end(), option[1], False)


def _value(text: str, at: int, name: str, may_be_prose: bool) -> Iterator[tuple[int, int]]:
    """Where the value of `name` stands that begins at `at`, if it gives anything away."""
    found = _VALUE.match(text, at)
    if found is None or found.lastgroup is None:
        return
    if _may_be_vocabulary(name) and _SPECIAL_TOKEN.match(text, found.start(found.lastgroup)):
        return
    value = found[found.lastgroup]
    if _is_harmless(value) or (may_be_prose and _is_prose(name, value)):
        return
    yield found.span(found.lastgroup)


def _is_harmless(value: str) -> bool:
    said = value.strip("\"'").lower()
    return said in _NO_SECRETS or said.startswith(MASK)


def _is_prose(name: str, value: str) -> bool:
    """Whether ``token: value`` may be a sentence; what is no word is none."""
    return name.lower().endswith(("token", "auth")) and (
        len(value) < 8 or value.isalpha() or value.isdigit()
    )


def _bearer(found: re.Match[str]) -> str:
    kind, space, token = found.groups()
    is_word = token.lower().rstrip(".") in _PROSE
    written_as_header = kind == "Bearer" and not is_word
    if written_as_header or len(token) >= 20 or (not token.isalpha() and len(token) >= 8):
        return f"{kind}{space}{MASK}"
    return found[0]


def _basic(found: re.Match[str]) -> str:
    kind, space, token = found.groups()
    try:
        pair = base64.b64decode(token, validate=True)
    except (ValueError, binascii.Error):
        return found[0]
    # What it stands for is a user and a password.
    return f"{kind}{space}{MASK}" if b":" in pair and pair.isascii() else found[0]
