"""The command `isp`: qualify, register and order from a terminal, by the public REST API alone."""

import argparse
import os
from collections.abc import Sequence

from rich.console import Console

from ispops.client import asking, login, registering, screens
from ispops.client.api import Isp, LoginEnded, Refused, ServerAway
from ispops.client.asking import AWAY, NOT_SIGNED_IN, UNDECIDED, UNUSABLE

DEFAULT_SERVER = "http://127.0.0.1:8000"
ENVIRONMENT = """\
environment:
  ISP_SERVER      the ISP's address, instead of --server
  ISP_TOKEN       an OAuth 2.0 access token, instead of `isp login`; visitors need none to qualify
  ISP_CONFIG_DIR  where the login is kept, instead of your own folder for settings
"""
EPILOG = """\
exit codes:
  0 it can be connected    1 it cannot    2 the question cannot be used
  3 undecided: several addresses match, or a network has not answered yet
  4 the server, or a network that was needed, does not answer

"""
ORDER_EPILOG = """\
exit codes:
  0 ordered, or done    1 not delivered, or not wanted    2 refused, with the reason
  3 not finished yet    4 the server does not answer      5 sign in first: isp login

"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    asked = _parser().parse_args(arguments)
    asked.server = asked.server.rstrip("/")
    errors = Console(stderr=True)
    try:
        return int(asked.run(asked))
    except Refused as refused:
        errors.print(f"[bold red]✗[/] {refused}", markup=True, highlight=False)
        for field, detail in refused.fields:
            if detail != str(refused):
                errors.print(f"  {field}: {detail}", markup=False, highlight=False)
        if refused.retry_after:
            errors.print(f"  Try again in {refused.retry_after:.0f} seconds.")
        return UNUSABLE
    except login.NotApproved as refused:
        errors.print(f"✗ {refused}", style="red", markup=False, highlight=False)
        return UNUSABLE
    except LoginEnded as ended:
        errors.print(f"! {ended} Run: isp login", style="red", markup=False, highlight=False)
        return NOT_SIGNED_IN
    except ServerAway as away:
        errors.print(f"! {away}", style="red", markup=False, highlight=False)
        return AWAY
    except (KeyboardInterrupt, EOFError):
        errors.print("Stopped.")
        return UNDECIDED


def _isp(asked: argparse.Namespace) -> Isp:
    return Isp(asked.server, token=os.environ.get("ISP_TOKEN") or login.token_for(asked.server))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="isp",
        description="What an internet service provider can do for you, from a terminal.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_qualify(commands)
    _add_login(commands)
    _add_register(commands)
    _add_orders(commands)
    return parser


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    about: str,
    description: str,
    epilog: str,
) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name,
        help=about,
        description=description,
        epilog=epilog + ENVIRONMENT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "--server",
        default=os.environ.get("ISP_SERVER", DEFAULT_SERVER),
        help=f"the ISP's address (default: $ISP_SERVER or {DEFAULT_SERVER})",
    )
    return command


def _add_qualify(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    qualify = _command(
        commands,
        "qualify",
        "ask what internet a place can have",
        "Ask what internet a place can have: from whom, how fast, for how much, and how soon.\n"
        "Without a place, it asks you for one.",
        EPILOG,
    )
    _add_place(qualify)
    qualify.add_argument(
        "--json", action="store_true", help="print the API's answer, and ask nothing"
    )
    qualify.set_defaults(run=lambda asked: asking.qualify(_isp(asked), asked))


def _add_place(command: argparse.ArgumentParser) -> None:
    place = command.add_mutually_exclusive_group()
    place.add_argument("address", nargs="?", help="street number, street, unit, city, state, ZIP")
    place.add_argument("--location-id", metavar="ID", help="the FCC's or the ISP's location id")
    place.add_argument("--premises", metavar="ID", help="a place the ISP named, such as prm_...")
    place.add_argument("--service", metavar="ID", help="where a service of yours is; needs a login")
    place.add_argument(
        "--at", metavar="LAT,LON", type=_coordinates, help="coordinates in degrees, WGS 84"
    )
    command.add_argument(
        "--as-written",
        action="store_true",
        help="the address is right as it is: guess at no other",
    )
    command.add_argument("--business", action="store_true", help="for a business")
    command.add_argument(
        "--wait",
        metavar="SECONDS",
        type=float,
        default=60,
        help="how long to wait for a network that is asked (default: 60)",
    )


def _add_login(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    enter = _command(
        commands,
        "login",
        "sign in, in your browser",
        "Sign in. You do it in a browser, on this machine or another: the program never sees your\n"
        "password.",
        ORDER_EPILOG,
    )
    enter.set_defaults(run=_login)
    leave = _command(
        commands, "logout", "sign out", "Sign out, and delete what was kept.", ORDER_EPILOG
    )
    leave.set_defaults(run=_logout)


def _add_register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    register = _command(
        commands,
        "register",
        "choose a plan for a place, and order it",
        "Choose a plan for a place and order it. In a terminal it asks for what is not given;\n"
        "anywhere else everything has to be given.",
        ORDER_EPILOG,
    )
    _add_place(register)
    register.add_argument("--qualification", metavar="ID", help="an answer that you have already")
    register.add_argument("--plan", metavar="CODE", help="the plan to order")
    register.add_argument(
        "--with", metavar="CODE", dest="extras", action="append", help="a product to go with it"
    )
    register.add_argument("--name", help="the name on the bill")
    register.add_argument("--phone", help="for the installer")
    register.add_argument("--pay", metavar="KIND", help="how to pay, such as invoice")
    register.add_argument(
        "--accept-terms", metavar="VERSION", help="you have read this version and accept it"
    )
    register.add_argument(
        "--second-line",
        dest="premises_answer",
        action="store_const",
        const="second_line",
        help="there is a line at the place, and this is one more",
    )
    register.add_argument(
        "--moving-in",
        dest="premises_answer",
        action="store_const",
        const="moving_in",
        help="there may be somebody else's line at the place, and you move in",
    )
    register.add_argument(
        "--another-person", action="store_true", help="somebody else has the same details"
    )
    register.add_argument(
        "--key", help="the key of an order that may have come through, to ask for it again"
    )
    _add_following(register)
    register.set_defaults(run=lambda asked: registering.register(_isp(asked), asked))


def _add_following(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="print the API's answer")
    command.add_argument(
        "--no-wait", action="store_true", help="do not stay until the order is done"
    )


def _add_orders(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    order = _command(
        commands,
        "order",
        "watch an order being done",
        "Show an order, and stay until it is done.",
        ORDER_EPILOG,
    )
    order.add_argument("order", help="the id of the order, such as ord_...")
    _add_following(order)
    order.set_defaults(run=lambda asked: registering.order(_isp(asked), asked))
    status = _command(
        commands,
        "status",
        "show your accounts and orders",
        "Show the accounts of your login, and how far their orders are.",
        ORDER_EPILOG,
    )
    status.add_argument("--json", action="store_true", help="print the API's answer")
    status.set_defaults(run=lambda asked: registering.status(_isp(asked), asked))


def _login(asked: argparse.Namespace) -> int:
    console = Console()
    device = login.begin(asked.server)
    screens.show_code(console, device.user_code, device.page, device.direct_page)
    with console.status("Waiting for you to say yes in the browser ..."):
        login.wait(asked.server, device)
    console.print("[green]✓[/] You are signed in.")
    return 0


def _logout(asked: argparse.Namespace) -> int:
    was = login.end(asked.server)
    Console().print("You are signed out." if was else "Nobody was signed in here.")
    return 0


def _coordinates(text: str) -> dict[str, float]:
    parts = text.split(",")
    try:
        latitude, longitude = (float(part) for part in parts)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            "write latitude and longitude like 41.7718,-72.5215"
        ) from error
    return {"latitude": latitude, "longitude": longitude}
