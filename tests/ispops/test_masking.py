"""Secrets do not get into what is kept of a conversation, whatever its shape."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ispops.masking import MASK, is_telling, mask, mask_text

# Long and of letters that nothing around it has, so that finding it means that it leaked.
SECRETS = st.text(alphabet="QZXJ4790", min_size=8, max_size=40)
TELLING = st.sampled_from(
    ["password", "User-Password", "token", "access_token", "client_secret", "webhook-signature",
     "Authorization", "X-Api-Key", "CHAP-Password", "Message-Authenticator", "pin", "Set-Cookie",
     "MS-CHAP-Challenge", "sharedKey", "privateKey"]
)  # fmt: skip
PLAIN_NAMES = st.sampled_from(["id", "state", "address", "User-Name", "speed_kbps", "keyboard"])
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet="abcdef ", max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(PLAIN_NAMES, inner, max_size=3),
    max_leaves=8,
)


def hidden_in(secret: Any) -> st.SearchStrategy[Any]:
    """Something of any shape, with a secret under a telling name somewhere in it."""
    return st.recursive(
        st.builds(lambda name, value: {name: value}, TELLING, secret),
        lambda inner: (
            st.builds(lambda part, rest: [rest, part], inner, PLAIN)
            | st.builds(
                lambda name, part, rest: {"rest": rest, name: part}, PLAIN_NAMES, inner, PLAIN
            )
        ),
        max_leaves=3,
    )


@given(secret=SECRETS, data=st.data())
def test_a_secret_under_a_telling_name_is_gone(secret: str, data: st.DataObject) -> None:
    values = st.just(secret) | st.just([secret]) | st.just({"value": {"inner": secret}})
    said = data.draw(hidden_in(values))
    assert secret in json.dumps(said)
    assert secret not in json.dumps(mask(said))


@given(PLAIN)
def test_what_is_no_secret_stays_as_it_is(said: Any) -> None:
    assert mask(said) == said


@given(secret=SECRETS, data=st.data())
def test_masking_twice_is_masking_once(secret: str, data: st.DataObject) -> None:
    once = mask(data.draw(hidden_in(st.just(secret))))
    assert mask(once) == once


@given(
    secret=SECRETS,
    around=st.sampled_from(
        ["Authorization: Bearer {}", "Basic {}", "https://otto:{}@isp.example/x", "whsec_{}",
         "GET /x?token={}&y=1", '{{"password": "{}"}}', "client_secret={}", "user_password: '{}'",
         "api-key={};", "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----",
         "-----BEGIN RSA PRIVATE KEY-----\n{}", "v1,aaaaaaaa{}bbbbbbbb==",
         'Cleartext-Password := "{}"', 'User-Password += {}', r'{{"password": "say \"{}\" twice"}}',
         '{{"secret": "cut {}', "passphrase={}", "private_key: '{}'", "sk_live_{}"]
    ),
    before=st.text(alphabet="abc \n", max_size=10),
)  # fmt: skip
def test_a_secret_inside_of_a_text_is_gone(secret: str, around: str, before: str) -> None:
    text = f"{before} {around.format(secret)} and more"
    masked = mask_text(text)
    assert secret not in masked
    assert MASK in masked
    assert mask_text(masked) == masked


@pytest.mark.parametrize(
    "text",
    ["The network login is line-bcdf.", "https://isp.example/orders/ord_1?state=open",
     "Films: No such film", "mail to ada@example.com"],
)  # fmt: skip
def test_ordinary_words_stay(text: str) -> None:
    assert mask_text(text) == text


@pytest.mark.parametrize("text", ["password", "token-", "api_key", "secret ", "a://a"])
def test_no_text_takes_long(text: str) -> None:
    """Whoever answers us chooses it; a worker that looks for secrets in it for hours is lost."""
    began = time.process_time()
    mask_text(text * 500)
    assert time.process_time() - began < 1


@pytest.mark.parametrize("name", ["id", "keyboard", "passenger", "monkey", "author", "spin"])
def test_names_that_only_look_alike_tell_nothing(name: str) -> None:
    assert not is_telling(name)


def test_that_nothing_was_said_is_kept() -> None:
    said = {"password": None, "token": "", "secret": False, "signature": []}
    assert mask(said) == said
