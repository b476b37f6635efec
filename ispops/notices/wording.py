"""Filling in a text, safely: whoever words it may name the declared variables, and ask if one is
there. Nothing else of the template language is open, so there is nothing to break out of.

The texts are checked token by token before Django's engine compiles them, in an engine that has
no loaders, no filters and no tag but `if`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from django.template import Context, Engine, Library, Template, TemplateSyntaxError
from django.template.base import Lexer, Token, TokenType
from django.template.defaulttags import do_if
from django.utils.html import escape, linebreaks

from ispops.errors import InvalidInput
from ispops.notices.catalogue import EMAIL, SMS, Kind, Wording

MOST_CHARACTERS = {EMAIL: 10_000, SMS: 1_000}
MOST_OF_A_SUBJECT = 150
MOST_OF_A_VALUE = 500
MOST_QUESTIONS = 20
# Around the name of a secret, where a text is kept before and after it is sent.
_OPEN, _CLOSE = "\ue000", "\ue001"
_NAME = re.compile(r"[a-z][a-z0-9_]*")
# Of the control characters a text needs none but the end of a line.
_CONTROLS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ue000\ue001]")


class TextCannotBeUsed(InvalidInput):
    code = "text_cannot_be_used"
    title = "The text cannot be used"


@dataclass(frozen=True, slots=True)
class Filled:
    """A text as its reader gets it; secrets still stand under their names, see `reveal`."""

    subject: str
    body: str
    links: tuple[str, ...]


class _OnlyIf(Engine):
    """An engine that can fill in and ask, and knows no library of Django's."""

    default_builtins = []

    def __init__(self) -> None:
        super().__init__(loaders=[], autoescape=False)
        library = Library()
        library.tag("if", do_if)
        self.template_builtins = [library]


_ENGINE = _OnlyIf()


def check(kind: Kind, channel: str, wording: Wording) -> None:
    """Refuse a text that names what there is not, or that does more than it may.

    Raises:
        TextCannotBeUsed: on `subject` or `body`; says in plain words what to change.
    """
    if channel == EMAIL:
        _check_length("subject", wording.subject, MOST_OF_A_SUBJECT)
        if "\n" in wording.subject or "\r" in wording.subject:
            raise TextCannotBeUsed("A subject is one line.", field="subject")
        secret = {variable.name for variable in kind.every_variable if variable.is_secret}
        if named := secret & set(_compile(kind, "subject", wording.subject)[1]):
            raise TextCannotBeUsed(
                f"{{{{ {sorted(named)[0]} }}}} is secret: it cannot be in a subject.",
                field="subject",
            )
    _check_length("body", wording.body, MOST_CHARACTERS[channel])
    _compile(kind, "body", wording.body)


def fill(kind: Kind, wording: Wording, values: Mapping[str, str]) -> Filled:
    """Fill a text in. Values lose what could end a line or a header; secrets stay names.

    Raises:
        TextCannotBeUsed: the text was worded for variables that there are no more.
    """
    shown = {
        variable.name: secret(variable.name)
        if variable.is_secret and values[variable.name]
        else one_line(values[variable.name])
        for variable in kind.every_variable
    }
    subject = _compile(kind, "subject", wording.subject)[0].render(Context(shown, autoescape=False))
    body = _compile(kind, "body", wording.body)[0].render(Context(shown, autoescape=False))
    links = (shown[variable.name] for variable in kind.every_variable if variable.is_link)
    return Filled(
        subject=one_line(subject)[:200],
        body=re.sub(r"\n{3,}", "\n\n", body.strip()) + "\n",
        links=tuple(link for link in links if link and link in body),
    )


def secrets_of(kind: Kind, values: Mapping[str, str]) -> dict[str, str]:
    """Return the values that must not be kept in clear, by name."""
    return {
        variable.name: one_line(values[variable.name])
        for variable in kind.every_variable
        if variable.is_secret and values[variable.name]
    }


def secret(name: str) -> str:
    """Return what stands in a text where a secret is to be."""
    return f"{_OPEN}{name}{_CLOSE}"


def reveal(text: str, secrets: Mapping[str, str]) -> str:
    """Put secrets in their places: for the recipient alone."""
    for name, value in secrets.items():
        text = text.replace(secret(name), value)
    return text


def conceal(text: str) -> str:
    """Show where secrets were, to anybody who may read the message but is not its recipient."""
    return re.sub(f"{_OPEN}[a-z0-9_]+{_CLOSE}", "[only in the message itself]", text)


def html_of(body: str, links: Iterable[str]) -> str:
    """Make the HTML part of a letter. Only our own links lead anywhere: a name is only a name."""
    text: str = linebreaks(body, autoescape=True)
    # The longest first, because one may be the beginning of another.
    shown = sorted((re.escape(escape(link)) for link in links), key=len, reverse=True)
    if shown:
        text = re.sub("|".join(shown), lambda link: f'<a href="{link[0]}">{link[0]}</a>', text)
    return f'<!doctype html><html lang="en"><body>{text}</body></html>'


def one_line(text: str) -> str:
    """Write a value on one line, without what is no character of a text."""
    return " ".join(_CONTROLS.sub(" ", text).split())[:MOST_OF_A_VALUE]


def _check_length(field: str, text: str, most: int) -> None:
    if not text.strip():
        raise TextCannotBeUsed("Write a text.", field=field)
    if len(text) > most:
        raise TextCannotBeUsed(f"It has {len(text):,} characters; {most:,} may be.", field=field)
    if found := _CONTROLS.search(text.replace("\r\n", "\n")):
        raise TextCannotBeUsed(
            f"The character U+{ord(found[0]):04X} cannot be in a text.", field=field
        )


def _compile(kind: Kind, field: str, source: str) -> tuple[Template, list[str]]:
    """Check every token, then let Django put them together; return the names that are used."""
    known = {variable.name for variable in kind.every_variable}
    source = source.replace("\r\n", "\n")
    names, questions = list[str](), 0
    for token in Lexer(source).tokenize():
        for name in _names(token, field):
            if name not in known:
                there = ", ".join(f"{{{{ {one} }}}}" for one in sorted(known))
                raise TextCannotBeUsed(
                    f"There is no {{{{ {name} }}}} in this notice. There are: {there}.", field=field
                )
            names.append(name)
        questions += token.token_type == TokenType.BLOCK
        if questions > 3 * MOST_QUESTIONS:
            raise TextCannotBeUsed(
                f"There are more than {MOST_QUESTIONS} {{% if %}} in this text.", field=field
            )
    try:
        return Template(source, engine=_ENGINE), names
    except TemplateSyntaxError as error:
        raise TextCannotBeUsed(
            "Each {% if … %} needs one {% endif %}, and {% else %} stands between them.",
            field=field,
        ) from error


def _names(token: Token, field: str) -> Iterator[str]:
    """Yield what a token names; refuse everything that is not among the few that are open."""
    said = token.contents
    if token.token_type == TokenType.TEXT:
        if found := re.search(r"{[{%#]|[}%#]}", said):
            raise TextCannotBeUsed(
                f"A brace is left over at {found[0]}: write {{{{ name }}}}, with two on each side.",
                field=field,
            )
    elif token.token_type == TokenType.VAR:
        if not _NAME.fullmatch(said):
            raise TextCannotBeUsed(
                f"{{{{ {said[:60]} }}}} cannot be used. Between the braces stands the name of a "
                "variable and nothing else.",
                field=field,
            )
        yield said
    else:
        yield from _asked(token, field)


def _asked(token: Token, field: str) -> Iterator[str]:
    """Yield the variables that an `if` asks for."""
    tag, *words = token.contents.split() or [""]
    refused = TextCannotBeUsed(
        f"{{% {token.contents[:60]} %}} cannot be used. There are {{% if name %}}, with not, and, "
        "or; {% else %}; and {% endif %}.",
        field=field,
    )
    if token.token_type != TokenType.BLOCK or tag not in {"if", "elif", "else", "endif"}:
        raise refused
    if (tag in {"if", "elif"}) != bool(words) or len(words) > 9:
        raise refused
    for word in words:
        if word in {"not", "and", "or"}:
            continue
        if not _NAME.fullmatch(word):
            raise refused
        yield word
