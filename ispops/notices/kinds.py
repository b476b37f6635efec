"""What is written to a subscriber about the account itself."""

from ispops.notices.catalogue import Kind, Variable, register

INVITATION = Kind(
    code="invitation",
    title="Invitation to the account",
    sent_when="when a member of staff has registered somebody, who then sets the login",
    variables=(
        Variable(
            "invitation_url",
            "where the login is set; nobody but the recipient sees it",
            "https://my.isp.example/invitation/abc123/",
            is_link=True,
            is_secret=True,
        ),
        Variable("valid_until", "until when the link works", "May 11, 2026"),
    ),
    subject="Make your login at {{ isp }}",
    text="""\
Hello {{ name }},

we have opened an account for you at {{ isp }}, as you asked us to. Make your login here, to follow
your order and to see your usage and your bills:

{{ invitation_url }}

The link works once, until {{ valid_until }}. Nobody at {{ isp }} will ask you for your password.

You know nothing of this? Then do nothing, or tell us: {{ phone }}.

{{ isp }}
""",
)

NUMBER_CODE = Kind(
    code="number_code",
    title="Code for a telephone number",
    sent_when="to a number by SMS, when a subscriber wants SMS there, to see that it is theirs",
    variables=(
        Variable("code", "what has to be entered; nobody but the recipient sees it", "493027",
                 is_secret=True),
        Variable("minutes", "how long it can be used, in minutes", "15"),
    ),
    sms="{{ isp }}: your code is {{ code }}. Enter it in your account within {{ minutes }} "
    "minutes. You asked for nothing? Then do nothing.",
)  # fmt: skip

register(INVITATION, NUMBER_CODE)
