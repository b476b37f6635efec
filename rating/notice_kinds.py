"""What is written to a subscriber about bills."""

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

register(BILL_ISSUED, CHARGE_REFUNDED, DISPUTE_ANSWERED)
