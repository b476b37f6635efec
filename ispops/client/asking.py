"""Asking what a place can have: the command `isp qualify`, and the beginning of `isp register`."""

import argparse
import json
import sys
import time
from typing import Any

from rich.console import Console
from rich.prompt import IntPrompt, Prompt

from ispops.client import screens
from ispops.client.api import Isp, Json

LONGEST_PAUSE = 10.0

# What a script learns from the exit code.
QUALIFIED, NOT_QUALIFIED, UNUSABLE, UNDECIDED, AWAY, NOT_SIGNED_IN = range(6)
EXIT_CODES = {"qualified": QUALIFIED, "qualified_with_construction": QUALIFIED}
EXIT_CODES |= {"choose": UNDECIDED, "pending": UNDECIDED, "failed": AWAY}


def qualify(isp: Isp, asked: argparse.Namespace) -> int:
    """The command `isp qualify`; returns its exit code."""
    console = Console()
    interactive = not asked.json and sys.stdin.isatty()
    answer = ask(isp, asked, console, interactive=interactive)
    if asked.json:
        sys.stdout.write(json.dumps(answer, indent=2) + "\n")
    elif answer["state"] == "choose":
        screens.show_candidates(console, answer)
        console.print("Ask again with the full address, or in a terminal to choose.")
    else:
        screens.show_answer(console, answer, isp.page_of(answer["id"]))
    return EXIT_CODES.get(answer["state"], NOT_QUALIFIED)


def ask(isp: Isp, asked: argparse.Namespace, console: Console, *, interactive: bool) -> Json:
    """Ask for the place that was named, until one is chosen and all networks have answered."""
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
    return _settled(isp, answer, asked.wait, console if interactive else None)


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
