"""Secrets taken out of what is kept of a conversation with the outside. Pure.

People read what was said to a partner, a mail server or an access server, and so may whoever
steals a copy of the database. What lets its holder act as somebody else is replaced by `MASK`:
the value under a telling name, and what looks like a secret by itself inside of any text.
"""

import re
from collections.abc import Mapping
from typing import Any

MASK = "•••"

# Parts of a name, compared without case, dashes and underscores: `X-Api-Key`, `user_password`.
_TELLING = (
    "password", "passwd", "passphrase", "secret", "token", "signature", "authorization", "cookie",
    "apikey", "privatekey", "credential", "sharedkey", "messageauthenticator", "mschap",
    "chapresponse", "otp",
)  # fmt: skip
# Whole names: they are too short to be looked for inside of others.
_TELLING_WHOLE = frozenset({"pin", "pass", "pwd", "auth", "key", "psk"})

_IN_TEXT: tuple[tuple[re.Pattern[str], str], ...] = (
    # PEM: a private key, whatever stands around it.
    (
        re.compile(
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S
        ),
        MASK,
    ),
    # RFC 9110, 11.4 and RFC 6750: what follows the name of the scheme.
    (re.compile(r"\b(Bearer|Basic|Digest|Token)\s+(?!•)[^\s\"',;]{4,}", re.I), rf"\1 {MASK}"),
    # RFC 3986, 3.2.1: the password between the user and the host.
    (re.compile(r"(\w{1,20}://[^/\s:@]{0,200}):[^/\s@]+@"), rf"\1:{MASK}@"),
    # Standard Webhooks: a receiver's secret, and a signature.
    (re.compile(r"\bwhsec_[A-Za-z0-9+/=_-]+"), MASK),
    (re.compile(r"\bv1a?,[A-Za-z0-9+/=]{16,}"), MASK),
    # Stripe's keys.
    (re.compile(r"\b[rs]k_(?:live|test)_\w+"), MASK),
    # name=value, name := "value" of FreeRADIUS and "name": "value": in addresses, forms, logs and
    # JSON written as text. Every repetition before the value has an end, because whoever answers us
    # chooses the text, and could choose one that takes hours.
    (
        re.compile(
            r"""(?P<name>(?:password|passwd|passphrase|secret|token|signature"""
            r"""|api[-_]?key|private[-_]?key)[\w-]{0,40}["']?\s{0,9}[:+=]?[:=]\s{0,9})"""
            # What is quoted may hold quotes of its own, and its end may have been cut off.
            r"""(?P<value>"(?:[^"\\]|\\.)*(?:"|\\?\Z)|'(?:[^'\\]|\\.)*(?:'|\\?\Z)"""
            r"""|(?![•=])[^\s&,;"'}\])]+)""",
            re.I | re.S,
        ),
        rf"\g<name>{MASK}",
    ),
)  # fmt: skip


def mask(said: Any) -> Any:
    """Return what was said, of the same shape, without the secrets in it.

    Takes what JSON can hold. A telling name hides all that stands under it; None and empty values
    stay, because that nothing was said is worth knowing. Masking twice is masking once.
    """
    if isinstance(said, Mapping):
        return {name: _under(str(name), value) for name, value in said.items()}
    if isinstance(said, list | tuple):
        return [mask(part) for part in said]
    return mask_text(said) if isinstance(said, str) else said


def mask_text(text: str) -> str:
    """Hide what looks like a secret inside of a text."""
    for pattern, instead in _IN_TEXT:
        text = pattern.sub(instead, text)
    return text


def is_telling(name: str) -> bool:
    """Say whether a field of this name holds a secret."""
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    return plain in _TELLING_WHOLE or any(part in plain for part in _TELLING)


def _under(name: str, value: Any) -> Any:
    if value is None or value in ("", [], {}) or isinstance(value, bool):
        return value
    return MASK if is_telling(name) else mask(value)
