"""What is logged of a request, without what would let a reader of the log act as its sender.

Links in letters carry what opens them, and some gateways can send their token in no other way. So
the web server's log and ours show addresses with that part hidden.
"""

import logging
import re
from typing import Any

from gunicorn.glogging import Logger

from ispops.masking import MASK

# The addresses whose next part is a secret: an invitation, a new password, a confirmed e-mail
# address, and leaving the waitlist.
_PATHS = re.compile(
    r"(/(?:invitation|accounts/password/reset/key|accounts/confirm-email|waitlist)/)[^/\s?#\"]+"
)
_QUERY = re.compile(
    r"([?&][\w.-]*(?:token|code|secret|password|signature|key|otp)[\w.-]*=)[^&\s#\"]+", re.I
)


def without_secrets(text: str) -> str:
    """Return a text with the secret parts of addresses in it hidden."""
    return _QUERY.sub(rf"\1{MASK}", _PATHS.sub(rf"\1{MASK}", text))


class AccessLog(Logger):
    """The web server's log, one line a request."""

    def atoms(self, *args: Any) -> dict[str, Any]:
        """Hide it in the request line, the path, the query and the page that it came from."""
        atoms: dict[str, Any] = super().atoms(*args)
        shown = {name: without_secrets(atoms[name] or "") for name in ("r", "U", "f")}
        return atoms | shown | {"q": without_secrets(f"?{atoms['q'] or ''}")[1:]}


class Line(logging.Formatter):
    """A line of our own log, where Django writes the address of whatever was refused."""

    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(super().format(record))
