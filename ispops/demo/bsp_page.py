"""The page of the demo partner server: what each partner received, and buttons to report use."""

from __future__ import annotations

from html import escape
from typing import Any

from ispops.demo.bsp_partner import USUAL_USE, Partner

STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { margin: 0 auto; max-width: 60rem; padding: 1.5rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { border-bottom: 1px solid #8886; padding: .4rem .6rem .4rem 0; text-align: left;
  vertical-align: top; overflow-wrap: anywhere; }
button { font: inherit; padding: .3rem .8rem; cursor: pointer; }
form { display: inline; } select { font: inherit; } table { margin: .6rem 0; }
.muted { opacity: .7; }
@media (max-width: 40rem) {
  tr { display: block; padding: .5rem 0; border-bottom: 1px solid #8886; }
  th { display: none; } td { display: block; border: 0; padding: 0; }
}
"""


def render(partners: list[Partner]) -> str:
    """Return the whole page. Everything that came from outside is escaped."""
    sections = "".join(_section(partner) for partner in partners)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="data:,">'
        f"<title>Partners of the demo ISP</title><style>{STYLE}</style>"
        "<h1>Partners of the demo ISP</h1>"
        "<p>This page is the partners' side: a program of its own that knows only the ISP's API. "
        "It confirms each order as soon as the signed webhook arrives, and a network answers which "
        "addresses it reaches. A network with an order desk of its own is ordered from there, and "
        "calls the ISP back.</p>"
        f"{sections}</html>"
    )


def _section(partner: Partner) -> str:
    with partner.lock:
        orders = list(partner.orders.values())[::-1]
        messages = partner.messages[:-11:-1]
    fault = f" <strong>(fault: {escape(partner.fault)})</strong>" if partner.fault else ""
    questions = _questions(partner)
    rows = "".join(_order(partner, order) for order in orders)
    table = (
        f"<table><tr><th>Product<th>Subscriber, as we know them<th>State<th></tr>{rows}</table>"
        if rows
        else '<p class="muted">No orders yet.</p>'
    )
    heard = "".join(
        f"<li>{escape(str(message.get('timestamp', '')))} {escape(str(message['type']))}"
        f"{'' if message['is_new'] else ' (again)'}</li>"
        for message in messages
    )
    latest = f"<details><summary>Latest messages</summary><ul>{heard}</ul></details>"
    return (
        f"<h2>{escape(partner.name)}{fault}</h2>{_faults(partner)}{questions}{_placed(partner)}"
        f"{table if rows or partner.desk is None else ''}"
        f"{latest if heard else ''}"
    )


def _faults(partner: Partner) -> str:
    """Return the form that lets a partner misbehave, to see what the ISP makes of it."""
    choices = "".join(
        f'<option value="{name}"{" selected" if name == partner.fault else ""}>'
        f"{name.replace('_', ' ') or 'no fault'}</option>"
        for name in ["", *partner.faults]
    )
    return (
        f'<form method="post" action="/demo/faults">'
        f'<input type="hidden" name="partner" value="{escape(partner.code, quote=True)}">'
        f'<label>Misbehave: <select name="fault">{choices}</select></label> '
        "<button>switch</button></form>"
    )


def _questions(partner: Partner) -> str:
    """Return the questions about addresses that a network was asked lately."""
    if partner.network is None:
        return ""
    with partner.network.lock:
        asked = list(partner.network.questions.values())[:-11:-1]
    rows = "".join(
        f"<tr><td>{escape(_address(question))}<td>{escape(str(question['state']))}"
        f"<td>{escape(str(item.get('qualificationResult', '')))}</tr>"
        for question in asked
        for item in question["serviceQualificationItem"]
    )
    if not rows:
        return '<p class="muted">No addresses were asked about yet.</p>'
    return f"<table><tr><th>Asked about<th>State<th>Answer</tr>{rows}</table>"


def _placed(partner: Partner) -> str:
    """Return the orders that came in by the network's own API."""
    if partner.desk is None:
        return ""
    with partner.desk.lock:
        orders = list(partner.desk.orders.values())[::-1]
    rows = "".join(_placed_row(order) for order in orders)
    if not rows:
        return '<p class="muted">No orders yet.</p>'
    return f"<table><tr><th>Ordered<th>Place<th>State</tr>{rows}</table>"


def _placed_row(order: dict[str, Any]) -> str:
    [item] = order["serviceOrderItem"]
    place = item["service"]["place"][0]
    where = " ".join(str(place.get(name) or "") for name in ("streetNr", "streetName", "city"))
    note = "".join(str(entry["text"]) for entry in order["note"])
    return (
        f"<tr><td>{escape(item['action'])} {escape(str(item['service'].get('name', '')))}"
        f'<br><span class="muted">{escape(str(order["externalId"]))}</span>'
        f"<td>{escape(where)}<td>{escape(order['state'])}"
        f"{f'<br>{escape(note)}' if note else ''}</tr>"
    )


def _address(question: dict[str, Any]) -> str:
    place = question["serviceQualificationItem"][0]["service"]["place"][0]
    parts = (place.get("streetNr"), place.get("streetName"), place.get("city"))
    return " ".join(str(part) for part in parts if part)


def _order(partner: Partner, order: dict[str, Any]) -> str:
    action = ""
    if order["offering"] in USUAL_USE and order["state"] == "completed":
        hidden = "".join(
            f'<input type="hidden" name="{name}" value="{escape(str(value), quote=True)}">'
            for name, value in (
                ("partner", partner.code),
                ("subscriber_ref", order["subscriber_ref"]),
                ("offering", order["offering"]),
            )
        )
        words = USUAL_USE[order["offering"]][2]
        action = (
            f'<form method="post" action="/demo/usage">{hidden}'
            f"<button>{escape(words)}</button></form>"
        )
    place = (order.get("premises") or {}).get("address", "")
    return (
        f"<tr><td>{escape(str(order['offering']))}<td>{escape(str(order['subscriber_ref']))}"
        f'<br><span class="muted">{escape(str(place))}</span>'
        f"<td>{escape(str(order['state']))}<td>{action}</tr>"
    )
