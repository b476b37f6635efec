"""The portal's few icons, drawn on a 24 by 24 grid, so that a state has a shape of its own."""

from typing import Final

_DISC: Final = '<circle cx="12" cy="12" r="11" fill="currentColor"/>'
_RING: Final = '<circle cx="12" cy="12" r="10" fill="none" stroke="currentColor" stroke-width="2"/>'


def _cut(path: str) -> str:
    """Draw a line on a filled shape, in the colour of what the icon lies on."""
    return (
        f'<path d="{path}" fill="none" stroke="var(--surface)" stroke-width="2.5" '
        'stroke-linecap="round" stroke-linejoin="round"/>'
    )


def _line(path: str) -> str:
    return (
        f'<path d="{path}" fill="none" stroke="currentColor" stroke-width="2" '
        'stroke-linecap="round" stroke-linejoin="round"/>'
    )


ICONS: Final[dict[str, str]] = {
    "done": _DISC + _cut("M7 12.5l3.5 3.5L17 9"),
    "bad": _DISC + _cut("M8 8l8 8M16 8l-8 8"),
    "info": _DISC + _cut("M12 11v6M12 7.2v.1"),
    "warn": '<path d="M12 1.5L23.5 22H.5z" fill="currentColor"/>' + _cut("M12 9v6M12 18.4v.1"),
    "wait": _RING,
    "busy": (
        '<circle cx="12" cy="12" r="10" fill="none" stroke="currentColor" stroke-width="2" '
        'opacity=".3"/><path class="turn" d="M12 2a10 10 0 0 1 10 10" fill="none" '
        'stroke="currentColor" stroke-width="3" stroke-linecap="round"/>'
        '<circle cx="12" cy="12" r="3.5" fill="currentColor"/>'
    ),
    "pause": _DISC + _cut("M9.5 8v8M14.5 8v8"),
    "off": _RING + _line("M5 19L19 5"),
    "skip": _RING + _line("M8 12h8"),
    "back": _line("M19 12H5M11 6l-6 6 6 6"),
    "next": _line("M5 12h14M13 6l6 6-6 6"),
    "place": _line("M12 22s7-6.5 7-12a7 7 0 0 0-14 0c0 5.5 7 12 7 12z") + _line("M12 10v.1"),
    "compare": _line("M4 20V10M10 20V4M16 20v-7M22 20H2"),
    "calendar": _line("M4 6h16v14H4zM4 10h16M8 3v4M16 3v4"),
    "speed": _line("M3 18a9 9 0 1 1 18 0M12 18l4-6"),
}
