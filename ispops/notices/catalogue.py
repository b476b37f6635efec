"""The kinds of notices: what is written when, of what it may speak, and how we word it.

A department registers its own kinds, as it registers its event handlers, so that no department
names a later one. Codes and names of variables stay the same for ever: the operator's templates
use them.
"""

from dataclasses import dataclass

EMAIL, SMS = "email", "sms"
CHANNELS = (EMAIL, SMS)


@dataclass(frozen=True, slots=True)
class Variable:
    """Something that a text may speak of. A secret one is known to nobody but who gets it."""

    name: str
    meaning: str
    example: str
    is_link: bool = False
    is_secret: bool = False


COMMON = (
    Variable("name", "the subscriber's name", "Ada Lovelace"),
    Variable("isp", "our name", "Harbor Broadband"),
    Variable("phone", "our telephone number", "+1 800 555 0142"),
    Variable(
        "account_url", "the subscriber's account", "https://my.isp.example/account/", is_link=True
    ),
)


@dataclass(frozen=True, slots=True)
class Wording:
    """A text before it is filled in; an SMS has no subject."""

    subject: str
    body: str


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of notice. It is also sent by SMS, to who agreed to that, if it has words for it.

    One without `text` is no letter: it goes to a telephone alone.
    """

    code: str
    title: str
    # Completes the sentence "It is sent ...".
    sent_when: str
    variables: tuple[Variable, ...]
    subject: str = ""
    text: str = ""
    sms: str = ""

    @property
    def every_variable(self) -> tuple[Variable, ...]:
        return self.variables + COMMON

    @property
    def channels(self) -> tuple[str, ...]:
        words = {EMAIL: self.text, SMS: self.sms}
        return tuple(channel for channel in CHANNELS if words[channel])

    @property
    def examples(self) -> dict[str, str]:
        return {variable.name: variable.example for variable in self.every_variable}

    def wording(self, channel: str) -> Wording:
        """Return our own words, which hold until the operator writes others."""
        return Wording("", self.sms) if channel == SMS else Wording(self.subject, self.text)


_kinds: dict[str, Kind] = {}


def register(*kinds: Kind) -> None:
    """Enter kinds. Raises ValueError when a code is taken already."""
    for kind in kinds:
        if kind.code in _kinds:
            raise ValueError(f"a notice called {kind.code} is registered already")
        _kinds[kind.code] = kind


def find(code: str) -> Kind | None:
    return _kinds.get(code)


def get(code: str) -> Kind:
    """Return a kind. Raises ValueError when nobody registered it."""
    kind = find(code)
    if kind is None:
        raise ValueError(f"no notice is called {code}")
    return kind


def every_kind() -> list[Kind]:
    """Return all kinds in the order in which they were registered."""
    return list(_kinds.values())
