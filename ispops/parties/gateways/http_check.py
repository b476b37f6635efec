"""A checker that is asked by HTTP: one POST of JSON for each person, one of three answers.

It is sent `id`, `kind`, `name`, `email`, `phone` and `account_kind`, with the secret of the
settings as a bearer token and the id as the idempotency key, and answers 200 with JSON in which
`verdict` is `pass`, `refer` or `refuse`, `reason` says why in words for staff, and `reference` is
its own name of the case.
"""

import json
import time
from dataclasses import dataclass
from typing import Any

import requests

from ispops.errors import PermanentFault, TransientFault
from ispops.parties.gateways.checks import Answer, Question, Verdict

# The whole answer may take a few time-outs, and is no longer than this.
MOST_TIME_OUTS = 3
MOST_BYTES = 64 * 1024
MOST_WORDS = 300
# It can answer again soon; what else is 4xx is about us, and trying again would not help.
_BUSY = {408, 425, 429}


@dataclass(frozen=True, slots=True)
class HttpChecker:
    """One provider of checks, by its address and secret."""

    url: str
    secret: str
    timeout_seconds: float

    def ask(self, question: Question) -> Answer:
        """See `Checker`."""
        asked = {
            "id": question.check_id,
            "kind": question.kind,
            "name": question.name,
            "email": question.email,
            "phone": question.phone,
            "account_kind": question.account_kind,
        }
        request = {"url": self.url, **asked}
        status, said = self._post(asked, request)
        reply = {"status": status, "body": _json(said)}
        if status in _BUSY or status >= 500 or 300 <= status < 400:
            raise TransientFault(f"It answered {status}.", request=request, reply=reply)
        if status >= 400:
            raise PermanentFault(f"It answered {status}.", request=request, reply=reply)
        return _answer(question, request, reply)

    def _post(self, asked: dict[str, str], request: dict[str, str]) -> tuple[int, bytes]:
        try:
            with requests.Session() as session:
                # Neither proxies nor passwords of this machine's files belong into the call.
                session.trust_env = False
                with session.post(
                    self.url,
                    json=asked,
                    headers={
                        "Authorization": f"Bearer {self.secret}",
                        "Idempotency-Key": asked["id"],
                    },
                    timeout=(min(3.05, self.timeout_seconds), self.timeout_seconds),
                    allow_redirects=False,
                    stream=True,
                ) as answer:
                    return answer.status_code, self._read(answer)
        except (requests.RequestException, OSError) as away:
            # Its words may quote the address, which a person cannot read anything from.
            raise TransientFault(f"It does not answer: {type(away).__name__}.",
                                 request=request) from away  # fmt: skip

    def _read(self, answer: requests.Response) -> bytes:
        """Read an answer that may be long, or drip in, no further than it is of use."""
        started, said = time.monotonic(), b""
        for piece in answer.iter_content(8192):
            said += piece
            if len(said) > MOST_BYTES:
                raise requests.RequestException("too long")
            if time.monotonic() - started > MOST_TIME_OUTS * self.timeout_seconds:
                raise requests.Timeout("too slow")
        return said


def _json(said: bytes) -> Any:
    try:
        return json.loads(said)
    except ValueError:
        return said.decode(errors="replace")[:MOST_WORDS]


def _answer(question: Question, request: dict[str, Any], reply: dict[str, Any]) -> Answer:
    body = reply["body"]
    words = body if isinstance(body, dict) else {}
    verdict = words.get("verdict")
    if verdict not in tuple(Verdict):
        raise TransientFault("Its answer is none of ours.", request=request, reply=reply)
    if words.get("id", question.check_id) != question.check_id:
        raise TransientFault("It answered about somebody else.", request=request, reply=reply)
    return Answer(
        verdict=Verdict(verdict),
        reason=_text(words.get("reason")),
        reference=_text(words.get("reference"))[:100],
        request=request,
        reply=reply,
    )


def _text(said: Any) -> str:
    return " ".join(said.replace("\0", "").split())[:MOST_WORDS] if isinstance(said, str) else ""
