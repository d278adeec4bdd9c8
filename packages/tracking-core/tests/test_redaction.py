"""Secrets stay out of the journal, and hyperparameters stay in it."""

from __future__ import annotations

import base64
import json
import string
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tracking_core.redaction import MASK, is_masked, redacted, unmasked

SECRET_NAMES = [
    "api_key", "apiKey", "API_KEY", "WANDB_API_KEY", "api-key", "apikey", "password", "db_password",
    "passwd", "access_token", "accessToken", "HF_TOKEN", "hfToken", "token", "secret",
    "client_secret", "private_key", "secret_access_key", "authorization", "credentials", "auth",
    "secret_key", "aws_secret_key", "CLEARML_API_SECRET_KEY", "secrets", "api_keys", "passwords",
    "accesstoken", "connection_string", "ssh_key", "openai_key", "jwt", "OpenAIKey", "SSHKey",
    "APIkey", "AZURE_OPENAI_API_KEY", "X-Api-Key", "PRIVATE-TOKEN", "Proxy-Authorization", "cookie",
    "access_tokens", "github_token_prod", "api_key_2", "password1", "db_pass", "smtp.pass",
    "encryption_key", "signing-key", "AccountKey", "hftoken", "openaikey", "bearer", "conn_str",
    "optimizer/api_key", "passphrase", "refresh_token", "session_token", "MYSQL_PWD",
]  # fmt: skip
INNOCENT_NAMES = [
    "tokens", "max_tokens", "num_tokens", "tokens_per_second", "tokenizer", "token_count",
    "pad_token", "eos_token", "bos_token", "eos_token_id", "pad_token_id", "author", "key",
    "keys", "secretary", "monkey", "lr", "", "keyword", "num_keys", "key_dim", "max_new_tokens",
    "padToken", "decoder_start_token", "loss_per_token", "next_token", "image_token", "primary_key",
    "sort_key", "query_key", "key_value", "public_key_path", "authors", "authority", "turkey",
    "tokenized", "token_embedding", "password_length", "secret_layers", "access", "passes",
    "forward_pass", "pass", "n_heads_key", "authentic", "compass", "bypass", "api_version",
    "key_padding_mask", "hotkeys", "special_tokens", "additional_special_tokens", "session",
    "cache_key", "monkey_token_count", "string", "keystring", "credits", "jwtless",
]  # fmt: skip


@pytest.mark.parametrize("name", SECRET_NAMES)
@pytest.mark.parametrize("value", ["canary", 1234, ["canary"], {"inner": "canary"}])
def test_secrets_are_masked(name: str, value: Any) -> None:
    assert redacted({"deep": {name: value}}) == {"deep": {name: MASK}}


@pytest.mark.parametrize("name", INNOCENT_NAMES)
def test_what_only_sounds_like_a_secret_stays(name: str) -> None:
    values = {"deep": [{name: 5}, {name: "<pad>"}, {name: "a text"}]}
    assert redacted(values) == values


@pytest.mark.parametrize("empty", [None, "", True, False, [], {}])
def test_a_secret_that_is_not_given_is_none(empty: Any) -> None:
    assert redacted({"api_key": empty, "auth": empty}) == {"api_key": empty, "auth": empty}


@pytest.mark.parametrize("word", ["<s>", "</s>", "<|endoftext|>", "[MASK]", "[PAD]", "<image_1>"])
def test_the_words_of_a_vocabulary_are_no_secrets(word: str) -> None:
    values = {"my_token": word, "token": word, "note": f"my_token={word}"}
    assert redacted(values) == values


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("http://me:canary@host/x", "http://me:***@host/x"),
        ("see postgresql+psycopg2://u:can@ary@db:5432/runs now", "see postgresql+psycopg2://u:***@db:5432/runs now"),
        ("http://:canary@host", "http://:***@host"),
        ("a http://u:canary@h and http://v:canary@h", "a http://u:***@h and http://v:***@h"),
        ("http://host:8080/path@2x.png", "http://host:8080/path@2x.png"),
        ("me@host: hello", "me@host: hello"),
        ("https://canary@host/x", "https://***@host/x"),
        ("git+https://canary@github.com/o/r", "git+https://***@github.com/o/r"),
        ("https://token:canary@host/x", "https://token:***@host/x"),
        ("ssh://git@github.com/o/r", "ssh://git@github.com/o/r"),
        ("git+https://git@github.com/o/r", "git+https://git@github.com/o/r"),
        ("postgresql://mlflow@db/runs", "postgresql://mlflow@db/runs"),
        ("abfss://box@account.dfs.core.windows.net/x", "abfss://box@account.dfs.core.windows.net/x"),
        ("https://host/a?x=me@y", "https://host/a?x=me@y"),
        ("https://h/p?api_key=canary&x=1", "https://h/p?api_key=***&x=1"),
        ("https://h/p?x=1&access_token=canary#top", "https://h/p?x=1&access_token=***"),
        ("https://h/p?sv=2&sig=canary%3D&se=3", "https://h/p?sv=2&sig=***&se=3"),
        ("https://h/p?key=a&page=2", "https://h/p?key=a&page=2"),
        ("https://hooks.slack.com/services/T0/B0/canary", "https://hooks.slack.com/services/***"),
    ],
)  # fmt: skip
def test_secrets_in_addresses_are_masked(text: str, masked: str) -> None:
    assert redacted(["x", {"uri": text}]) == ["x", {"uri": masked}]


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("--api_key=canary", "--api_key=***"),
        ("--api-key=can;ary,1", "--api-key=***"),
        ("python train.py --token canary --lr 0.1", "python train.py --token *** --lr 0.1"),
        ("WANDB_API_KEY=canary", "WANDB_API_KEY=***"),
        ("export WANDB_API_KEY='canary' X=1", "export WANDB_API_KEY='***' X=1"),
        ("Authorization: Bearer canary", "Authorization: Bearer ***"),
        ("{'Authorization': 'Bearer canary'}", "{'Authorization': 'Bearer ***'}"),
        ("authorization: canary", "authorization: ***"),
        ("sent Bearer canary7", "sent Bearer ***"),
        ("Cookie: a=canary; b=canary", "Cookie: ***"),
        ("Basic " + base64.b64encode(b"me:canary").decode(), "Basic ***"),
        ('{"api_key": "canary", "lr": 0.1}', '{"api_key": "***", "lr": 0.1}'),
        (json.dumps('{"token": "canary"}'), json.dumps('{"token": "***"}')),
        ("api_key: canary\nlr: 0.1", "api_key: ***\nlr: 0.1"),
        ("Server=h;Uid=me;Pwd=canary;", "Server=h;Uid=me;Pwd=***;"),
        ("AccountName=a;AccountKey=canary==;EndpointSuffix=x", "AccountName=a;AccountKey=***;EndpointSuffix=x"),
        ("login(user='me', password='canary')", "login(user='me', password='***')"),
        ("invalid API key: canary", "invalid API key: ***"),
        ("the token: canary12 is refused", "the token: *** is refused"),
    ],
)  # fmt: skip
def test_secrets_in_texts_are_masked(text: str, masked: str) -> None:
    assert redacted({"note": text}) == {"note": masked}
    assert "canary" not in redacted(f"ValueError: {text}")


@pytest.mark.parametrize(
    "text",
    [
        "max_tokens=5 pad_token=<pad> tokenizer=bert num_keys=3",
        "the next token: attention",
        "token=None, auth=True, password=''",
        "a basic understanding of the bearer token format",
        "key=value; author=me; keyword: attention",
        "sk-learn-pipeline-with-a-long-name, hf_internal_testing_tiny_model",
        "sha 0123456789abcdef0123456789abcdef01234567",
        "2024-01-01T10:00:00 secretary: hello",
        "C:\\data\\runs: 5",
        "lr=0.1,momentum=0.9",
        "task-0123456789abcdef0123",
    ],
)
def test_texts_without_secrets_stay(text: str) -> None:
    assert redacted({"note": text, "list": [text]}) == {"note": text, "list": [text]}


LETTERS = string.ascii_letters + string.digits
PEM = "-----BEGIN {0}PRIVATE KEY-----\n{1}\n-----END {0}PRIVATE KEY-----"


def of(alphabet: str, least: int, most: int | None = None) -> st.SearchStrategy[str]:
    return st.text(alphabet, min_size=least, max_size=most or least)


shapes = st.one_of(
    st.builds("gh{}_{}".format, st.sampled_from("posur"), of(LETTERS, 36)),
    st.builds("github_pat_{}_{}".format, of(LETTERS, 22), of(LETTERS, 59)),
    st.builds("glpat-{}".format, of(LETTERS + "-_", 20)),
    st.builds("sk-{}".format, of(LETTERS, 48)),
    st.builds("sk-proj-{}".format, of(LETTERS + "-_", 40, 150)),
    st.builds("sk-ant-api03-{}".format, of(LETTERS + "-_", 90)),
    st.builds("hf_{}".format, of(LETTERS, 34)),
    st.builds("{}{}".format, st.sampled_from(["AKIA", "ASIA"]), of(string.ascii_uppercase + string.digits, 16)),
    st.builds("xox{}-{}-{}".format, st.sampled_from("abps"), of(string.digits, 12), of(LETTERS, 24)),
    st.builds("AIza{}".format, of(LETTERS + "-_", 35)),
    st.builds("eyJ{}.eyJ{}.{}".format, of(LETTERS, 20, 40), of(LETTERS, 20, 200), of(LETTERS + "-_", 43)),
    st.builds(PEM.format, st.sampled_from(["", "RSA ", "EC ", "OPENSSH "]), of(LETTERS + "+/=\n", 64, 400)),
)  # fmt: skip


@settings(max_examples=300)
@given(
    shapes, st.sampled_from(["{}", "key {} is wrong", "x={}", '["{}"]', "({})", "https://h/{}/x"])
)
def test_keys_of_known_shapes_are_masked_under_any_name(key: str, text: str) -> None:
    found = redacted({"note": text.format(key), "many": [text.format(key)]})
    assert found == {"note": text.format(MASK), "many": [text.format(MASK)]}


WORDS = ["my", "model", "train", "data", "hidden", "Learning", "Rate", "x1", "prod", "old"]
CORES = [
    ["api", "key"], ["secret", "key"], ["access", "token"], ["password"], ["secret"], ["secrets"],
    ["api", "keys"], ["private", "key"], ["ssh", "key"], ["connection", "string"], ["jwt"], ["token"],
    ["openai", "key"], ["client", "secret"], ["passphrase"], ["credentials"], ["authorization"],
]  # fmt: skip
CALM = [
    ["max", "tokens"], ["tokens"], ["key"], ["keys"], ["key", "dim"], ["num", "keys"], ["author"],
    ["keyword"], ["monkey"], ["tokenizer"], ["secretary"], ["pad", "token"], ["eos", "token", "id"],
    ["hidden", "size"], ["batch"], ["token", "dropout"], ["password", "length"],
]  # fmt: skip
STYLES: list[Callable[[list[str]], str]] = [
    "_".join,
    "-".join,
    ".".join,
    "/".join,
    " ".join,
    lambda words: "_".join(words).upper(),
    lambda words: words[0].lower() + "".join(word.capitalize() for word in words[1:]),
    lambda words: "".join(word.capitalize() for word in words),
]
before = st.lists(st.sampled_from(WORDS), max_size=3)
style = st.sampled_from(STYLES)


@settings(max_examples=500)
@given(before, st.sampled_from(CORES), style, of(LETTERS + "-_.+/", 1, 40))
def test_a_secret_is_found_however_its_name_is_written(
    words: list[str], core: list[str], write: Callable[[list[str]], str], value: str
) -> None:
    name = write([*words, *core])
    assert redacted({name: value}) == {name: MASK}
    if "/" not in name and " " not in name:
        assert redacted(["prog", f"--{name}", f"x{value}"]) == ["prog", f"--{name}", MASK]
        assert redacted(f"{name}=x{value}y") == f"{name}={MASK}"
        assert redacted(f"https://h/?a=1&{name}=x{value}y") == f"https://h/?a=1&{name}={MASK}"


@settings(max_examples=500)
@given(
    before,
    st.sampled_from(CALM),
    style,
    st.integers() | st.floats(allow_nan=False) | of(string.ascii_lowercase, 0, 12),
)
def test_a_hyperparameter_stays_however_its_name_is_written(
    words: list[str], core: list[str], write: Callable[[list[str]], str], value: Any
) -> None:
    name = write([*words, *core])
    assert redacted({name: value}) == {name: value}
    if "/" not in name and " " not in name:
        assert redacted(f"{name}={value}") == f"{name}={value}"
        assert redacted(["prog", f"--{name}", value]) == ["prog", f"--{name}", value]


plain = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30)
)


@settings(max_examples=300)
@given(
    st.recursive(
        plain,
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3)
        ),
        max_leaves=8,
    )
)
@example({"a=1": 1, "api_key=x": 2, "api_key=y": 3})
def test_nothing_is_dropped_and_twice_is_as_once(value: Any) -> None:
    once = redacted(value)
    assert redacted(once) == once

    def size(part: Any) -> int:
        if part == MASK:
            return -1
        inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else []
        sizes = [size(one) for one in inner]
        return 1 + sum(map(abs, sizes))

    if not is_masked(once):
        assert size(once) == size(value)


@pytest.mark.parametrize(
    "text",
    ["a." * 50_000, "-" * 100_000, "-eyJ" * 25_000, "://a:" * 20_000, 'a="' * 30_000, "x=" * 50_000,
     "bearer " * 15_000, "-----BEGIN PRIVATE" * 6_000, "a" * 200_000, " " * 100_000 + "=", "token " * 20_000],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_a_long_text_takes_no_long_time(text: str) -> None:
    began = time.process_time()
    redacted(text)
    assert time.process_time() - began < 2.0


def test_the_name_may_stand_beside_the_value() -> None:
    environment = [{"name": "WANDB_API_KEY", "value": "canary"}, {"name": "LR", "value": "0.1"}]
    assert redacted({"env": environment}) == {
        "env": [{"name": "WANDB_API_KEY", "value": MASK}, {"name": "LR", "value": "0.1"}]
    }


def test_an_option_and_its_value_may_be_two_items() -> None:
    given = [
        "train.py",
        "--token",
        "canary",
        "--api-key",
        "--verbose",
        "--max_tokens",
        "5",
        "-p",
        3,
    ]
    assert redacted({"argv": given}) == {"argv": [*given[:2], MASK, *given[3:]]}


def test_what_was_masked_is_left_out_for_the_library_to_find() -> None:
    given = {"api_key": "k", "entity": "me", "settings": {"token": "t", "mode": "online"}}
    assert unmasked(redacted(given)) == {"entity": "me", "settings": {"mode": "online"}}
    assert is_masked(redacted(given)) and not is_masked(unmasked(redacted(given)))
    assert is_masked(redacted({"uris": ["http://me:pw@host"]}))
