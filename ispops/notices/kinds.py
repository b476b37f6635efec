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
    subject="Set up your login at {{ isp }}",
    text="""\
Hello {{ name }},

as we agreed, we have opened your account. Choose a password to use it:
{{ invitation_url }}

The link works until {{ valid_until }}, and once. If you did not talk to us, leave it alone and
call us at {{ phone }}.

{{ isp }}
""",
)

register(INVITATION)
