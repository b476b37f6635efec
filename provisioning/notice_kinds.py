"""What is written to a subscriber about orders and lines."""

from ispops.notices.catalogue import Kind, Variable, register

_WHAT = Variable("what", "what was ordered, and where", "Fiber 500 at 1 Oak Street, Barre, VT")
_NUMBER = Variable("order_number", "the order's number", "ord_0190f7a2c4d87e11b2a3c4d5e6f70812")
_ORDER_URL = Variable(
    "order_url", "the order's page", "https://my.isp.example/orders/ord_0190f7a2/", is_link=True
)
_EXPECTED = Variable("expected_date", "when it should be done", "May 9, 2026")
_PLAN = Variable("plan", "the line's plan", "Fiber 500")
_PREMISES = Variable("premises", "the line's address", "1 Oak Street, Barre, VT 05641")
_DATE = Variable("date", "the day on which it happened", "May 4, 2026")
_ORDER = (_WHAT, _NUMBER, _ORDER_URL)
_LINE = (_PLAN, _PREMISES, _DATE)

_GREETING = "Hello {{ name }},\n\n"
_CLOSING = "\n\nQuestions? Call us at {{ phone }}; we are glad to help.\n\n{{ isp }}\n"

ORDER_RECEIVED = Kind(
    code="order_received",
    title="Order received",
    sent_when="when an order was placed",
    variables=(*_ORDER, _EXPECTED),
    subject="We have your order: {{ what }}",
    text=f"""\
{_GREETING}thank you, your order has arrived: {{{{ what }}}}.

We expect it to be done by {{{{ expected_date }}}}. See how far it is, or take it back:
{{{{ order_url }}}}{_CLOSING}""",
)

ORDER_COMPLETED = Kind(
    code="order_completed",
    title="Order done",
    sent_when="when a move or a change of network is done",
    variables=(*_ORDER, _DATE),
    subject="It is done: {{ what }}",
    text=f"""\
{_GREETING}your order of {{{{ what }}}} was done on {{{{ date }}}}.

What it came to is on its page:
{{{{ order_url }}}}{_CLOSING}""",
)

ORDER_DELAYED = Kind(
    code="order_delayed",
    title="Order delayed",
    sent_when="when the promised day of an order has come and it is not done, once an order",
    variables=(*_ORDER, _EXPECTED),
    subject="It takes longer: {{ what }}",
    text=f"""\
{_GREETING}we promised you {{{{ what }}}} by {{{{ expected_date }}}}, and it is not done yet. We are
sorry. One of us is looking into it.

See how far it is:
{{{{ order_url }}}}{_CLOSING}""",
    sms="{{ isp }}: your order is not done by {{ expected_date }} as promised. We are sorry, and "
    "look into it: {{ order_url }}",
)

ORDER_CANCELLED = Kind(
    code="order_cancelled",
    title="Order cancelled",
    sent_when="when an order was taken back, by the subscriber or by us",
    variables=_ORDER,
    subject="Your order is cancelled: {{ what }}",
    text=f"""\
{_GREETING}your order of {{{{ what }}}} is cancelled. Nothing more happens, and nothing is charged
for it.

The order's page keeps what was done:
{{{{ order_url }}}}{_CLOSING}""",
)

CHECK_REFUSED = Kind(
    code="check_refused",
    title="Check refused",
    sent_when="when a check of identity or credit was refused, and an order waits for it",
    variables=(
        *_ORDER,
        Variable(
            "finding", "what we could not do, as a sentence", "We could not confirm who you are."
        ),
    ),
    subject="We cannot go on with your order yet: {{ what }}",
    text=f"""\
{_GREETING}before we deliver {{{{ what }}}} we look into a few things. {{{{ finding }}}}

Your order is kept, nothing is charged, and nothing has to be entered again. Please call us at
{{{{ phone }}}}: often a document, or another way to pay, settles it.

How it stands, and how to take it back:
{{{{ order_url }}}}{_CLOSING}""",
)

VISIT_BOOKED = Kind(
    code="visit_booked",
    title="Visit of a technician",
    sent_when="when a visit was booked for an order, or moved to another time",
    variables=(
        *_ORDER,
        Variable("visit", "when the technician comes", "Tuesday 3 December, 8:00 to 12:00"),
    ),
    subject="Our technician comes on {{ visit }}",
    text=f"""\
{_GREETING}our technician comes for {{{{ what }}}}: {{{{ visit }}}}. Please see that somebody is at
home.

It does not suit you? Choose another time:
{{{{ order_url }}}}{_CLOSING}""",
    sms="{{ isp }}: our technician comes on {{ visit }}. Another time? {{ order_url }}",
)

VISIT_CANCELLED = Kind(
    code="visit_cancelled",
    title="Visit cancelled",
    sent_when="when a technician who was announced does not come, and nobody has to",
    variables=(
        *_ORDER,
        Variable("visit", "when the technician was to come", "Tuesday 3 December, 8:00 to 12:00"),
    ),
    subject="Our technician does not come on {{ visit }}",
    text=f"""\
{_GREETING}our technician does not come on {{{{ visit }}}}: nobody has to be at home for
{{{{ what }}}}.

See how far your order is:
{{{{ order_url }}}}{_CLOSING}""",
    sms="{{ isp }}: our technician does not come on {{ visit }}. {{ order_url }}",
)

NEEDS_YOU = Kind(
    code="needs_you",
    title="The order waits for the subscriber",
    sent_when="when an order cannot go on until the subscriber has done something, such as to "
    "choose another time for a visit",
    variables=(
        *_ORDER,
        Variable(
            "need",
            "what happened and what to do, in sentences",
            "Our technician was there, and nobody was at home. Please choose another time.",
        ),
        Variable(
            "todo_url",
            "the page where it is done",
            "https://my.isp.example/orders/ord_0190f7a2/visit/",
            is_link=True,
        ),
    ),
    subject="Your order waits for you: {{ what }}",
    text=f"""\
{_GREETING}we cannot go on with {{{{ what }}}} without you. {{{{ need }}}}

You can do that here:
{{{{ todo_url }}}}{_CLOSING}""",
    sms="{{ isp }}: your order waits for you. {{ need }} {{ todo_url }}",
)

WELCOME = Kind(
    code="welcome",
    title="Welcome: the line is ready",
    sent_when="when a new line was switched on, as the last step of its order",
    variables=(_PLAN, _PREMISES, _NUMBER),
    subject="Your {{ isp }} line is ready",
    text=f"""\
{_GREETING}your line at {{{{ premises }}}} is ready: {{{{ plan }}}}.

Your network login, your usage and your bills are in your account:
{{{{ account_url }}}}{_CLOSING}""",
    sms="{{ isp }}: your line {{ plan }} is ready. Your network login is in your account: "
    "{{ account_url }}",
)

PLAN_CHANGED = Kind(
    code="plan_changed",
    title="Plan changed",
    sent_when="when a change of plan or of add-ons is in force",
    variables=(*_ORDER, _DATE),
    subject="Your plan has changed: {{ what }}",
    text=f"""\
{_GREETING}from {{{{ date }}}} on you have {{{{ what }}}}.

The running bill in your account shows what that costs:
{{{{ account_url }}}}{_CLOSING}""",
)

LINE_SUSPENDED = Kind(
    code="line_suspended",
    title="Line suspended",
    sent_when="when a line was suspended, for whatever reason",
    variables=(
        *_LINE,
        Variable("reason", "why, as the end of a sentence", "because bills are not paid"),
        Variable("note", "what to do, if there is something", "Pay bill 2026-0117 to go on."),
    ),
    subject="Your line at {{ premises }} is suspended",
    text=f"""\
{_GREETING}your line {{{{ plan }}}} at {{{{ premises }}}} is suspended since {{{{ date }}}},
{{{{ reason }}}}.

{{% if note %}}{{{{ note }}}}

{{% endif %}}Your account says how to have it on again:
{{{{ account_url }}}}{_CLOSING}""",
    sms="{{ isp }}: your line {{ plan }} is suspended {{ reason }}. {{ account_url }}",
)

LINE_RESUMED = Kind(
    code="line_resumed",
    title="Line resumed",
    sent_when="when a suspended line was switched on again",
    variables=_LINE,
    subject="Your line at {{ premises }} is on again",
    text=f"""\
{_GREETING}your line {{{{ plan }}}} at {{{{ premises }}}} is on again since {{{{ date }}}}.

If a device does not find the network at once, switch it off and on.{_CLOSING}""",
    sms="{{ isp }}: your line {{ plan }} is on again.",
)

LINE_CEASED = Kind(
    code="line_ceased",
    title="Line ended",
    sent_when="when a line that was in use has ended for good",
    variables=_LINE,
    subject="Your line at {{ premises }} has ended",
    text=f"""\
{_GREETING}your line {{{{ plan }}}} at {{{{ premises }}}} has ended on {{{{ date }}}}.

What is still open comes with your last bill. Your account stays:
{{{{ account_url }}}}{_CLOSING}""",
)

register(
    ORDER_RECEIVED,
    ORDER_DELAYED,
    ORDER_COMPLETED,
    ORDER_CANCELLED,
    CHECK_REFUSED,
    VISIT_BOOKED,
    VISIT_CANCELLED,
    NEEDS_YOU,
    WELCOME,
    PLAN_CHANGED,
    LINE_SUSPENDED,
    LINE_RESUMED,
    LINE_CEASED,
)
