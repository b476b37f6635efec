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

register(INVITATION)
