"""The least that a web server can answer to FreeRADIUS: always the same, out of memory.

It runs under the same gunicorn as the product, in place of it.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any

PASSWORD = "the-same-for-every-line"
BODY = json.dumps(
    {
        "control:Cleartext-Password": {"op": ":=", "value": [PASSWORD], "do_xlat": False},
        "reply:Framed-IP-Address": {"op": ":=", "value": ["100.64.0.7"], "do_xlat": False},
    }
).encode()


def application(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    environ["wsgi.input"].read()
    start(
        "200 OK",
        [("Content-Type", "application/json"), ("Content-Length", str(len(BODY)))],
    )
    return [BODY]
