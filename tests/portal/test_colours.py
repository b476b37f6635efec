"""Colours of the stylesheet: readable in both schemes (WCAG 2.2, 1.4.3 and 1.4.11)."""

import re
from pathlib import Path

import pytest

CSS = Path("ispops/portal/static/portal/app.css").read_text()
LIGHT, DARK = (
    dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6});", block))
    for block in re.findall(r":root \{(.*?)\n *\}", CSS, flags=re.DOTALL)
)
TEXT_ON = [
    (colour, ground)
    for colour in ("text", "muted", "accent", "accent-hover", "good", "warn", "bad")
    for ground in ("page", "surface", "sunken")
] + [
    ("accent-text", "accent"),
    ("accent-text", "accent-hover"),
    ("accent", "accent-soft"),
    ("accent-hover", "accent-soft"),
    ("text", "accent-soft"),
    ("text", "good-soft"),
    ("text", "warn-soft"),
    ("text", "bad-soft"),
    ("good", "good-soft"),
    ("warn", "warn-soft"),
    ("bad", "bad-soft"),
    ("surface", "warn"),
    ("label-ink", "label-paper"),
]
SHAPE_ON = [
    (shape, ground)
    for shape in ("control", "focus", "chart-1", "chart-2")
    for ground in ("page", "surface")
]


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    bright, dim = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def test_the_measure_knows_black_on_white() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize(("name", "scheme"), [("light", LIGHT), ("dark", LIGHT | DARK)])
@pytest.mark.parametrize(("colour", "ground"), TEXT_ON)
def test_text_can_be_read(name: str, scheme: dict[str, str], colour: str, ground: str) -> None:
    assert contrast(scheme[colour], scheme[ground]) >= 4.5


@pytest.mark.parametrize(("name", "scheme"), [("light", LIGHT), ("dark", LIGHT | DARK)])
@pytest.mark.parametrize(("shape", "ground"), SHAPE_ON)
def test_shapes_can_be_seen(name: str, scheme: dict[str, str], shape: str, ground: str) -> None:
    assert contrast(scheme[shape], scheme[ground]) >= 3


def test_no_colour_is_written_outside_the_roles() -> None:
    body = re.sub(r":root \{.*?\n *\}", "", CSS, flags=re.DOTALL)
    assert set(re.findall(r"#[0-9a-f]{3,8}\b", body)) <= {"#ffffff"}  # the quiet zone of a QR code


def test_there_are_four_sizes_of_type() -> None:
    assert len(set(re.findall(r"--size-[a-z]+:", CSS))) == 4
