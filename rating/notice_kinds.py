"""What is written to a subscriber about bills and use."""

from ispops.notices.catalogue import Kind, Variable, register

BILL_ISSUED = Kind(
    code="bill_issued",
    title="Bill issued",
    sent_when="when a bill was issued",
    variables=(
        Variable("bill_number", "the bill's number", "117"),
        Variable("amount", "what is due, with tax", "USD 66.00"),
        Variable("due_date", "by when it is due", "May 18, 2026"),
        Variable(
            "bill_url", "the bill's page", "https://my.isp.example/account/bills/1/", is_link=True
        ),
    ),
    subject="Your bill {{ bill_number }}: {{ amount }}",
    text="""\
Hello {{ name }},

your bill {{ bill_number }} is ready: {{ amount }}, due by {{ due_date }}.

What is on it, and why each amount is what it is:
{{ bill_url }}

Questions? Call us at {{ phone }}; we are glad to help.

{{ isp }}
""",
)

_CHARGE_URL = Variable(
    "charge_url", "the charge's page", "https://my.isp.example/account/charges/1/", is_link=True
)

CHARGE_REFUNDED = Kind(
    code="charge_refunded",
    title="Something is given back",
    sent_when="when a part of a charge, or all of it, was given back",
    variables=(
        Variable("product", "what the charge was for", "A film"),
        Variable("amount", "what is given back, with tax", "USD 2.74"),
        Variable("reason", "why", "The film stopped after ten minutes."),
        _CHARGE_URL,
    ),
    subject="{{ amount }} back for {{ product }}",
    text="""\
Hello {{ name }},

we give you {{ amount }} back, with tax, of what you paid for {{ product }}. It is taken off your
next bill.

{{ reason }}

How the amount comes about:
{{ charge_url }}

Questions? Call us at {{ phone }}.

{{ isp }}
""",
)

PRICE_PUT_RIGHT = Kind(
    code="price_put_right",
    title="A price was put right",
    sent_when="when use was charged at a wrong price, and the difference is charged or given back",
    variables=(
        Variable("product", "what was used", "Cinebox by the minute"),
        Variable("months", "when the billing periods began", "May 2026"),
        Variable("outcome", "what it comes to, with tax", "You get USD 6.60 back."),
        _CHARGE_URL,
    ),
    subject="We have put the price of {{ product }} right",
    text="""\
Hello {{ name }},

we charged what you used of {{ product }} at a wrong price, in billing periods that began in
{{ months }}. We have put that right. {{ outcome }} It is on your next bill.

How the amount comes about:
{{ charge_url }}

Not right? Dispute it there, or call us at {{ phone }}.

{{ isp }}
""",
)

DISPUTE_ANSWERED = Kind(
    code="dispute_answered",
    title="Dispute answered",
    sent_when="when we have answered a charge that a subscriber disputed",
    variables=(
        Variable("product", "what the charge was for", "A film"),
        Variable("outcome", "what came of it, in a sentence", "You get USD 2.74 back."),
        Variable("answer", "why, in our words", "The film stopped after ten minutes."),
        _CHARGE_URL,
    ),
    subject="Our answer about {{ product }}",
    text="""\
Hello {{ name }},

you told us that the charge for {{ product }} is wrong. We have looked into it. {{ outcome }}

{{ answer }}

The charge, and what became of it:
{{ charge_url }}

You see it differently? Call us at {{ phone }}.

{{ isp }}
""",
)

_PRODUCT = Variable("product", "what was used", "Fiber 500")
_UNTIL = Variable("until", "the day on which the next billing period begins", "June 4, 2026")
_USAGE_URL = Variable(
    "usage_url", "the page of what was used", "https://my.isp.example/account/usage/", is_link=True
)
_SPEED = Variable("speed", "what the line carries", "500 Mbit/s down, 500 Mbit/s up")

USAGE_THRESHOLD = Kind(
    code="usage_threshold",
    title="Part of what is included is used",
    sent_when="when 50, 80 or 100 % of what is included in a billing period are used, each once; "
    "and once more when that happens again after more was bought",
    variables=(
        _PRODUCT,
        Variable("percent", "which part is used, in percent", "80"),
        Variable("used", "how much is used", "800 GB"),
        Variable("included", "how much is included", "1 TB"),
        Variable("then", "what more of it means", "After that, USD 2.00 for each started 10 GB."),
        _UNTIL,
        _USAGE_URL,
    ),
    subject="{{ product }}: {{ percent }} % of what is included are used",
    text="""\
Hello {{ name }},

you have used {{ used }} of the {{ included }} that {{ product }} includes in this billing period.
{{ then }}

It starts again on {{ until }}. See it day by day:
{{ usage_url }}

Questions? Call us at {{ phone }}; we are glad to help.

{{ isp }}
""",
    sms="{{ isp }}: {{ used }} of {{ included }} of {{ product }} are used ({{ percent }} %). "
    "{{ then }} It starts again on {{ until }}. {{ usage_url }}",
)

SPENDING_LIMIT = Kind(
    code="spending_limit",
    title="Spending limit is nearly or fully reached",
    sent_when="when partners' products have come to 80 or 100 % of what an account may spend on "
    "them in a billing period, each once",
    variables=(
        Variable("percent", "which part is spent, in percent", "80"),
        Variable("spent", "what it has come to, with tax", "USD 40.00"),
        Variable("limit", "what may be spent, with tax", "USD 50.00"),
        _UNTIL,
        _USAGE_URL,
    ),
    subject="{{ percent }} % of your spending limit is reached",
    text="""\
Hello {{ name }},

products of our partners come to {{ spent }} in this billing period, with tax. Your limit is
{{ limit }}: purchases that would pass it are refused until {{ until }}. What you use of products
that you have goes on.

What you used, and what it has cost:
{{ usage_url }}

You want another limit? Call us at {{ phone }}.

{{ isp }}
""",
    sms="{{ isp }}: partners' products come to {{ spent }} of your limit of {{ limit }} "
    "({{ percent }} %) until {{ until }}. {{ usage_url }}",
)

LINE_SLOWED = Kind(
    code="line_slowed",
    title="Line slowed by fair use",
    sent_when="when a line has used so much that its plan slows it until the next billing period",
    variables=(
        _PRODUCT,
        _SPEED,
        Variable("helps", "what makes it fast again before", "Buy more data to be fast again now."),
        _UNTIL,
        _USAGE_URL,
    ),
    subject="{{ product }} is slower until {{ until }}",
    text="""\
Hello {{ name }},

your line has used as much as the fair use of {{ product }} allows in this billing period. It goes
on working, with {{ speed }}.

It is as fast as before on {{ until }}. {{ helps }}
{{ usage_url }}

Questions? Call us at {{ phone }}; we are glad to help.

{{ isp }}
""",
    sms="{{ isp }}: fair use is reached, so {{ product }} has {{ speed }} until {{ until }}. "
    "{{ helps }} {{ usage_url }}",
)

LINE_RESTORED = Kind(
    code="line_restored",
    title="Line as fast as before",
    sent_when="when a line that was slowed by fair use has its speed back",
    variables=(
        _PRODUCT,
        Variable("because", "why, completing a sentence", "because a new billing period began"),
        _USAGE_URL,
    ),
    subject="{{ product }} is as fast as before",
    text="""\
Hello {{ name }},

your line has the full speed of {{ product }} again, {{ because }}. You need not do anything.

What you use, day by day:
{{ usage_url }}

{{ isp }}
""",
    sms="{{ isp }}: {{ product }} has its full speed again, {{ because }}.",
)

PURCHASE_ASKED_FOR = Kind(
    code="purchase_asked_for",
    title="A partner would like to sell something",
    sent_when="when a partner asks a subscriber to buy something, which waits for the answer",
    variables=(
        Variable("partner", "who sells it", "Cinebox"),
        Variable("product", "what it is", "A film"),
        Variable("price", "what it costs, in words", "USD 5.49 once, with tax"),
        Variable("words", "what the partner says of it", "The film that you looked for"),
        Variable("expires_on", "until when it can be answered", "May 7, 2026"),
        Variable(
            "request_url",
            "where it is answered",
            "https://my.isp.example/account/requests/1/",
            is_link=True,
        ),
    ),
    subject="{{ partner }} asks: {{ product }}?",
    text="""\
Hello {{ name }},

{{ partner }} asks whether you want to buy {{ product }}: {{ price }}.

{{ words }}

Look at it, and say yes or no:
{{ request_url }}

Nothing is charged unless you say yes. Without an answer it ends on {{ expires_on }}.

{{ isp }}
""",
    sms="{{ isp }}: {{ partner }} asks whether you want {{ product }}, {{ price }}. "
    "Yes or no: {{ request_url }}",
)

_CONSENTS_URL = Variable(
    "consents_url",
    "where it is withdrawn",
    "https://my.isp.example/account/consents/",
    is_link=True,
)

BOUGHT_BY_STANDING_CONSENT = Kind(
    code="bought_by_standing_consent",
    title="Bought by a standing consent",
    sent_when="when a partner sold something that a subscriber's standing consent covers",
    variables=(
        Variable("partner", "who sold it", "Cinebox"),
        Variable("product", "what it is", "A film"),
        Variable("amount", "what it costs, with tax", "USD 5.49"),
        Variable(
            "purchase_url",
            "the purchase's page",
            "https://my.isp.example/account/purchases/1/",
            is_link=True,
        ),
        _CONSENTS_URL,
    ),
    subject="{{ product }} from {{ partner }}: {{ amount }}",
    text="""\
Hello {{ name }},

{{ partner }} has sold you {{ product }} for {{ amount }}, with tax, as you let them do:
{{ purchase_url }}

You no longer want that? Withdraw it here:
{{ consents_url }}

{{ isp }}
""",
)

CHARGED_BY_STANDING_CONSENT = Kind(
    code="charged_by_standing_consent",
    title="Charged by a standing consent",
    sent_when="when a partner first charges for something that it holds an amount for, which a "
    "subscriber's standing consent covers",
    variables=(
        Variable("partner", "who charges for it", "Cinebox"),
        Variable("product", "what it is", "A film"),
        Variable("most", "what it comes to at most, with tax", "USD 11.00"),
        _CHARGE_URL,
        _CONSENTS_URL,
    ),
    subject="{{ partner }} charges you for {{ product }}",
    text="""\
Hello {{ name }},

{{ partner }} charges you for {{ product }}, as you let them do. That may come to {{ most }}, with
tax, and no more. The first charge of it:
{{ charge_url }}

You no longer want that? Withdraw it here:
{{ consents_url }}

{{ isp }}
""",
)

register(
    BILL_ISSUED,
    CHARGE_REFUNDED,
    PRICE_PUT_RIGHT,
    DISPUTE_ANSWERED,
    PURCHASE_ASKED_FOR,
    BOUGHT_BY_STANDING_CONSENT,
    CHARGED_BY_STANDING_CONSENT,
    USAGE_THRESHOLD,
    SPENDING_LIMIT,
    LINE_SLOWED,
    LINE_RESTORED,
)
