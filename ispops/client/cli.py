"""The command `isp`: qualify a place from a terminal (figure 2), by the public REST API alone."""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.prompt import IntPrompt, Prompt

from ispops.client import screens
from ispops.client.api import Isp, Json, Refused, ServerAway

DEFAULT_SERVER = "http://127.0.0.1:8000"
LONGEST_PAUSE = 10.0

# What a script learns from the exit code.
QUALIFIED, NOT_QUALIFIED, UNUSABLE, UNDECIDED, AWAY = range(5)
EXIT_CODES = {"qualified": QUALIFIED, "qualified_with_construction": QUALIFIED}
EXIT_CODES |= {"choose": UNDECIDED, "pending": UNDECIDED, "failed": AWAY}
EPILOG = """\
exit codes:
  0 it can be connected    1 it cannot    2 the question cannot be used
  3 undecided: several addresses match, or a network has not answered yet
  4 the server, or a network that was needed, does not answer

environment:
  ISP_SERVER   the ISP's address, instead of --server
  ISP_TOKEN    an OAuth 2.0 access token, for partners; visitors need none
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    asked = _parser().parse_args(arguments)
    errors = Console(stderr=True)
    isp = Isp(asked.server, token=os.environ.get("ISP_TOKEN", ""))
    try:
        return _qualify(isp, asked)
    except Refused as refused:
        errors.print(f"[bold red]✗[/] {refused}", markup=True, highlight=False)
        for field, detail in refused.fields:
            if detail != str(refused):
                errors.print(f"  {field}: {detail}", markup=False, highlight=False)
        if refused.retry_after:
            errors.print(f"  Try again in {refused.retry_after:.0f} seconds.")
        return UNUSABLE
    except ServerAway as away:
        errors.print(f"! {away}", style="red", markup=False, highlight=False)
        return AWAY
    except (KeyboardInterrupt, EOFError):
        errors.print("Stopped.")
        return UNDECIDED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="isp",
        description="What an internet service provider can do for you, from a terminal.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    qualify = commands.add_parser(
        "qualify",
        help="ask what internet a place can have",
        description="Ask what internet a place can have: from whom, how fast, for how much, "
        "and how soon. Without a place, it asks you for one.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    place = qualify.add_mutually_exclusive_group()
    place.add_argument("address", nargs="?", help="street number, street, unit, city, state, ZIP")
    place.add_argument("--location-id", metavar="ID", help="the FCC's or the ISP's location id")
    place.add_argument("--premises", metavar="ID", help="a place the ISP named, such as prm_...")
    place.add_argument(
        "--service", metavar="ID", help="where a service of yours is; needs ISP_TOKEN"
    )
    place.add_argument(
        "--at", metavar="LAT,LON", type=_coordinates, help="coordinates in degrees, WGS 84"
    )
    qualify.add_argument(
        "--as-written",
        action="store_true",
        help="the address is right as it is: guess at no other",
    )
    qualify.add_argument("--business", action="store_true", help="for a business")
    qualify.add_argument(
        "--json", action="store_true", help="print the API's answer, and ask nothing"
    )
    qualify.add_argument(
        "--wait",
        metavar="SECONDS",
        type=float,
        default=60,
        help="how long to wait for a network that is asked (default: 60)",
    )
    qualify.add_argument(
        "--server",
        default=os.environ.get("ISP_SERVER", DEFAULT_SERVER),
        help=f"the ISP's address (default: $ISP_SERVER or {DEFAULT_SERVER})",
    )
    return parser


def _coordinates(text: str) -> dict[str, float]:
    parts = text.split(",")
    try:
        latitude, longitude = (float(part) for part in parts)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            "write latitude and longitude like 41.7718,-72.5215"
        ) from error
    return {"latitude": latitude, "longitude": longitude}


def _qualify(isp: Isp, asked: argparse.Namespace) -> int:
    console = Console()
    interactive = not asked.json and sys.stdin.isatty()
    question = _question(asked, console, interactive=interactive)
    answer = isp.qualify(question)
    while answer["state"] == "choose" and interactive:
        guessed = screens.is_guess(question, answer)
        screens.show_candidates(console, answer, guessed=guessed)
        chosen = _choice(console, answer["candidates"], guessed=guessed)
        if chosen:
            question = {"premises_id": chosen, "subscriber_kind": _kind(asked)}
        else:
            question = question | {"as_written": True}
        answer = isp.qualify(question)
    answer = _settled(isp, answer, asked.wait, console if interactive else None)
    if asked.json:
        sys.stdout.write(json.dumps(answer, indent=2) + "\n")
    elif answer["state"] == "choose":
        screens.show_candidates(console, answer)
        console.print("Ask again with the full address, or in a terminal to choose.")
    else:
        screens.show_answer(console, answer, isp.page_of(answer["id"]))
    return EXIT_CODES.get(answer["state"], NOT_QUALIFIED)


def _question(asked: argparse.Namespace, console: Console, *, interactive: bool) -> Json:
    """The body of the call: the one place that was named, or that is asked for now."""
    question: dict[str, Any] = {"subscriber_kind": _kind(asked)}
    if asked.location_id:
        return question | {"location_id": asked.location_id}
    if asked.premises:
        return question | {"premises_id": asked.premises}
    if asked.service:
        return question | {"service_id": asked.service}
    if asked.at:
        return question | {"coordinates": asked.at}
    text = asked.address
    if text is None and interactive:
        console.print("[dim]Street number, street, unit, city, state and ZIP code[/]")
        text = Prompt.ask("[bold]Address[/]", console=console)
    insisting = {"as_written": True} if asked.as_written else {}
    return question | {"address": text or ""} | insisting


def _kind(asked: argparse.Namespace) -> str:
    return "business" if asked.business else "consumer"


def _choice(console: Console, candidates: list[Json], *, guessed: bool) -> str:
    """Return the id of the one that is chosen; empty for none of them, where they are guesses."""
    numbers = [str(number) for number in range(0 if guessed else 1, len(candidates) + 1)]
    number = IntPrompt.ask(
        "[bold]Which one is it?[/]", console=console, choices=numbers, show_choices=False
    )
    return str(candidates[number - 1]["id"]) if number else ""


def _settled(isp: Isp, answer: Json, seconds: float, console: Console | None) -> Json:
    """Look again while a network is being asked, for at most so many seconds."""
    until = time.monotonic() + seconds
    status = console.status(screens.waiting_for(answer)) if console else None
    if status and answer["state"] == "pending":
        status.start()
    try:
        pause = 0.5
        while answer["state"] == "pending" and time.monotonic() < until:
            time.sleep(max(0.0, min(pause, LONGEST_PAUSE, until - time.monotonic())))
            answer, pause = isp.answer(answer["id"])
            if status:
                status.update(screens.waiting_for(answer))
    finally:
        if status:
            status.stop()
    return answer
