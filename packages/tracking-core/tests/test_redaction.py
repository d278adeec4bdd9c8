"""Secrets stay out of the journal, and hyperparameters stay in it."""

from __future__ import annotations

from typing import Any

import pytest

from tracking_core.redaction import MASK, redacted, unmasked

SECRET_NAMES = [
    "api_key", "apiKey", "API_KEY", "WANDB_API_KEY", "api-key", "apikey", "password", "db_password",
    "passwd", "access_token", "accessToken", "HF_TOKEN", "hfToken", "token", "secret",
    "client_secret", "private_key", "secret_access_key", "authorization", "credentials", "auth",
]  # fmt: skip
INNOCENT_NAMES = [
    "tokens", "max_tokens", "num_tokens", "tokens_per_second", "tokenizer", "token_count",
    "pad_token", "eos_token", "bos_token", "eos_token_id", "pad_token_id", "author", "key",
    "keys", "secretary", "monkey", "lr", "",
]  # fmt: skip


@pytest.mark.parametrize("name", SECRET_NAMES)
@pytest.mark.parametrize("value", ["canary", 1234, ["canary"], {"inner": "canary"}])
def test_secrets_are_masked(name: str, value: Any) -> None:
    assert redacted({"deep": {name: value}}) == {"deep": {name: MASK}}


@pytest.mark.parametrize("name", INNOCENT_NAMES)
def test_what_only_sounds_like_a_secret_stays(name: str) -> None:
    values = {"deep": [{name: 5}, {name: "<pad>"}]}
    assert redacted(values) == values


@pytest.mark.parametrize("empty", [None, ""])
def test_a_secret_that_is_not_given_is_none(empty: Any) -> None:
    assert redacted({"api_key": empty}) == {"api_key": empty}


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("http://me:canary@host/x", "http://me:***@host/x"),
        ("see postgresql+psycopg2://u:can@ary@db:5432/runs now", "see postgresql+psycopg2://u:***@db:5432/runs now"),
        ("http://:canary@host", "http://:***@host"),
        ("a http://u:canary@h and http://v:canary@h", "a http://u:***@h and http://v:***@h"),
        ("http://host:8080/path@2x.png", "http://host:8080/path@2x.png"),
        ("me@host: hello", "me@host: hello"),
    ],
)  # fmt: skip
def test_passwords_in_addresses_are_masked(text: str, masked: str) -> None:
    assert redacted(["x", {"uri": text}]) == ["x", {"uri": masked}]


def test_what_was_masked_is_left_out_for_the_library_to_find() -> None:
    given = {"api_key": "k", "entity": "me", "settings": {"token": "t", "mode": "online"}}
    assert unmasked(redacted(given)) == {"entity": "me", "settings": {"mode": "online"}}
