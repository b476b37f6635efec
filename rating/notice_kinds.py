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

register(BILL_ISSUED)
