"""Filling texts in: what an operator may write, and what hostile texts and values cannot do."""

from __future__ import annotations

import time

import pytest
from django.conf import settings
from hypothesis import given
from hypothesis import strategies as st

from ispops.notices import catalogue, wording
from ispops.notices.catalogue import EMAIL, SMS, Kind, Variable, Wording

KIND = Kind(
    code="of_this_test",
    title="A test",
    sent_when="never",
    variables=(
        Variable("plan", "the plan", "Fiber 500"),
        Variable("note", "more", ""),
        Variable("order_url", "the order", "https://isp.example/orders/1/?a=1&b=2", is_link=True),
        Variable("key_url", "a key", "https://isp.example/key/s3cret/", True, is_secret=True),
    ),
    subject="{{ plan }}",
    text="{{ plan }}",
    sms="{{ plan }}",
)
VALUES = KIND.examples


def fill(body: str, subject: str = "A subject", **values: str) -> wording.Filled:
    words = Wording(subject, body)
    wording.check(KIND, EMAIL, words)
    return wording.fill(KIND, words, VALUES | values)


def refusal(body: str, subject: str = "A subject") -> wording.TextCannotBeUsed:
    with pytest.raises(wording.TextCannotBeUsed) as refused:
        wording.check(KIND, EMAIL, Wording(subject, body))
    return refused.value


def test_variables_and_questions() -> None:
    text = "{{ plan }}{% if note %}: {{ note }}{% else %}.{% endif %}"
    text += "{%if not note and plan%}!{%endif%}"
    assert fill(text).body == "Fiber 500.!\n"
    assert fill(text, note="for you").body == "Fiber 500: for you\n"
    assert fill("{% if plan and note or plan %}yes{% elif note %}no{% endif %}").body == "yes\n"


def test_an_empty_part_leaves_no_hole() -> None:
    assert fill("One\r\n\r\n{{ note }}\r\n\r\nTwo").body == "One\n\nTwo\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{{ plane }}", "There is no {{ plane }} in this notice. There are: {{ account_url }},"),
        ("{{ plan.upper }}", "Between the braces stands the name of a variable"),
        ("{{ plan.__class__.__mro__ }}", "cannot be used"),
        ("{{ plan|upper }}", "{{ plan|upper }} cannot be used"),
        ("{{ plan|safe }}", "cannot be used"),
        ('{{ "a"|join:"b" }}', "cannot be used"),
        ("{{ settings.SECRET_KEY }}", "cannot be used"),
        ("{{ settings }}", "There is no {{ settings }}"),
        ("{{ request }}", "There is no {{ request }}"),
        ("{{ block.super }}", "cannot be used"),
        ("{{ True }}", "cannot be used"),
        ("{{ 1 }}", "cannot be used"),
        ("{{ _('x') }}", "cannot be used"),
        ("{{ }}", "cannot be used"),
        ("{{ plan", "A brace is left over at {{"),
        ("plan }}", "A brace is left over at }}"),
        ("{{ plan }} {% if", "A brace is left over at {%"),
        ("{# plan #}", "{% plan %} cannot be used"),
        ("{% %}", "cannot be used"),
        ("{% load static %}", "{% load static %} cannot be used"),
        ("{% include 'admin/base.html' %}", "cannot be used"),
        ("{% extends 'base.html' %}", "cannot be used"),
        ("{% debug %}", "cannot be used"),
        ("{% for x in plan %}{% endfor %}", "{% for x in plan %} cannot be used"),
        ("{% with a=plan %}{% endwith %}", "cannot be used"),
        ("{% verbatim %}{{ x }}{% endverbatim %}", "cannot be used"),
        ("{% lorem 100000 p %}", "cannot be used"),
        ("{% cycle 'a' 'b' %}", "cannot be used"),
        ("{% if plan.__class__ %}{% endif %}", "cannot be used"),
        ("{% if plan|length %}{% endif %}", "cannot be used"),
        ("{% if plan == 'x' %}{% endif %}", "cannot be used"),
        ("{% if nothing %}{% endif %}", "There is no {{ nothing }}"),
        ("{% if %}{% endif %}", "cannot be used"),
        ("{% if plan %}", "needs one {% endif %}"),
        ("{% endif %}", "needs one {% endif %}"),
        ("{% else %}", "needs one {% endif %}"),
        ("{% if plan plan %}{% endif %}", "needs one {% endif %}"),
        ("{% if plan %}" * 100 + "{% endif %}" * 100, "There are more than 20"),
        ("{% if " + "not " * 400 + "plan %}{% endif %}", "cannot be used"),
        ("x" * 10_001, "It has 10,001 characters; 10,000 may be."),
        ("   \n ", "Write a text."),
        ("Null \x00", "The character U+0000 cannot be in a text."),
        ("Secret \ue000key_url\ue001", "The character U+E000 cannot be in a text."),
    ],
)
def test_a_text_that_cannot_be_used_says_why(text: str, words: str) -> None:
    refused = refusal(text)
    assert (refused.field, refused.status) == ("body", 422)
    assert words in refused.detail


def test_a_subject_is_one_line_without_secrets() -> None:
    assert "one line" in refusal("x", "Two\nlines").detail
    assert "{{ key_url }} is secret" in refusal("x", "{{ key_url }}").detail
    assert refusal("x", "{{ key_url }}").field == "subject"
    assert "150 may be" in refusal("x", "x" * 151).detail
    assert refusal("x", "{{ planes }}").field == "subject"


def test_every_text_of_the_product_can_be_used() -> None:
    kinds = catalogue.every_kind()
    assert len(kinds) > 5
    for kind in kinds:
        for channel in kind.channels:
            words = kind.wording(channel)
            wording.check(kind, channel, words)
            filled = wording.fill(kind, words, kind.examples)
            assert "{" not in filled.subject + filled.body
            assert bool(filled.subject) is (channel == EMAIL)


def test_hostile_values_stay_what_they_are() -> None:
    name = '<script>alert("1")</script> {{ settings.SECRET_KEY }} {% debug %}'
    filled = fill("Hello {{ name }}, {{ order_url }}", "Hi {{ name }}", name=name)
    assert filled.body.startswith(f"Hello {name}, https://")
    assert settings.SECRET_KEY not in filled.body
    html = wording.html_of(filled.body, filled.links)
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert '<a href="https://isp.example/orders/1/?a=1&amp;b=2">' in html


def test_only_our_own_links_lead_anywhere() -> None:
    name = "https://evil.example/ javascript:alert(1)"
    filled = fill("{{ name }} {{ order_url }} {{ account_url }}", name=name)
    html = wording.html_of(filled.body, filled.links)
    assert html.count("<a ") == 2
    assert 'href="https://evil' not in html
    # One link is the beginning of the other.
    long = wording.html_of("https://a/b/ https://a/b/c", ["https://a/b/", "https://a/b/c"])
    assert long.count("<a ") == long.count("</a>") == 2
    assert '<a href="https://a/b/c">https://a/b/c</a>' in long


def test_a_value_cannot_begin_another_header() -> None:
    filled = fill("{{ name }}", "Hi {{ name }}", name="Eve\r\nBcc: all@isp.example\u2028x\x85y\x00")
    assert filled.subject == "Hi Eve Bcc: all@isp.example x y"
    assert filled.body == "Eve Bcc: all@isp.example x y\n"


@given(st.text(max_size=80), st.text(max_size=80))
def test_no_text_does_harm_and_each_is_answered_at_once(body: str, value: str) -> None:
    """Whatever is written is refused in words or filled in with what stands there."""
    started = time.monotonic()
    words = Wording("", body + "{{ name }}")
    try:
        wording.check(KIND, SMS, words)
        filled = wording.fill(KIND, words, VALUES | {"name": value})
    except wording.TextCannotBeUsed:
        refusal(body + "{{ name }}")
    else:
        assert wording.one_line(value) in filled.body
    assert time.monotonic() - started < 2


def test_a_secret_is_kept_by_its_name() -> None:
    filled = fill("Here: {{ key_url }}")
    assert "s3cret" not in filled.body
    assert wording.conceal(filled.body) == "Here: [only in the message itself]\n"
    secrets = wording.secrets_of(KIND, VALUES)
    assert wording.reveal(filled.body, secrets) == "Here: https://isp.example/key/s3cret/\n"
    links = [wording.reveal(link, secrets) for link in filled.links]
    assert links == ["https://isp.example/key/s3cret/"]
    # Who writes the mark into a name gets nothing for it.
    stolen = fill("{{ name }}", name="\ue000key_url\ue001")
    assert wording.reveal(stolen.body, secrets) == "key_url\n"
