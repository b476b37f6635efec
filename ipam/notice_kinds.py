"""What is written to a subscriber about devices beyond the plan (figure 11)."""

from ispops.notices.catalogue import Kind, Variable, register

_DEVICE = Variable("device", "the device, as it names itself", "02:00:5e:10:00:01")
_DEVICES_URL = Variable(
    "devices_url", "the page of devices", "https://my.isp.example/account/devices/", is_link=True
)
_ADDON = Variable("addon", "what is added to the plan", "Extra address")

ADDRESS_ASKED = Kind(
    code="address_asked",
    title="A device asks for one more address",
    sent_when="when a device asks for an address that the plan does not include, and somebody is "
    "asked",
    variables=(
        _DEVICE,
        _DEVICES_URL,
        Variable("who_decides", "who answers, as a sentence", "Say yes or no on this page:"),
    ),
    subject="The device {{ device }} asks for one more address",
    text="""\
Hello {{ name }},

the device {{ device }} wants to go online, and all addresses of your plan are in use.

{{ who_decides }}
{{ devices_url }}

Without an answer the request ends by itself, and nothing is charged. On the same page you can free
the address of another device instead.

{{ isp }}
""",
    sms="{{ isp }}: the device {{ device }} asks for one more address. {{ devices_url }}",
)

EXTRA_ADDRESS_GRANTED = Kind(
    code="extra_address_granted",
    title="Extra address added",
    sent_when="when an extra address was granted, from when on it is charged",
    variables=(_DEVICE, _ADDON, _DEVICES_URL),
    subject="{{ addon }} added for {{ device }}",
    text="""\
Hello {{ name }},

{{ addon }} was added to your plan for the device {{ device }}. It is charged from now until you
stop it, which you can at any time:

{{ devices_url }}

Questions? Call us at {{ phone }}; we are glad to help.

{{ isp }}
""",
)

EXTRA_ADDRESS_ENDED = Kind(
    code="extra_address_ended",
    title="Extra address ended",
    sent_when="when an extra address ended, so that it is charged no longer",
    variables=(_DEVICE, _ADDON, _DEVICES_URL),
    subject="{{ addon }} for {{ device }} has ended",
    text="""\
Hello {{ name }},

{{ addon }} for the device {{ device }} has ended, and is charged no longer. What it came to is on
your next bill.

Your devices and their addresses:
{{ devices_url }}

{{ isp }}
""",
)

CSR_REQUESTS = Kind(
    code="csr_address_requests",
    title="Devices wait for customer service",
    sent_when="to members of customer service when devices wait for their decision: one letter "
    "about all of them, and a quarter of an hour later at the earliest the next",
    variables=(
        Variable("how_many", "how many wait, as the beginning of a sentence", "3 devices wait"),
        Variable(
            "answer_by", "when the first of them is not waited for any more", "14:05 on 4 May"
        ),
        Variable(
            "queue_url",
            "the queue in the console",
            "https://my.isp.example/console/overallocation/",
            is_link=True,
        ),
    ),
    subject="{{ how_many }} for an address",
    text="""\
Hello {{ name }},

{{ how_many }} for an address that the plan does not include, and customer service decides. The
first answer is due by {{ answer_by }}; without one the request ends by itself.

{{ queue_url }}

You can switch these letters off on that page.

{{ isp }}
""",
)

STATIC_ADDRESS_MOVES = Kind(
    code="static_address_moves",
    title="A static address will change",
    sent_when="when static addresses are renumbered, before it is done",
    variables=(
        Variable("address", "the static address", "198.18.16.7"),
        Variable("moves_on", "the day on which it changes", "Tuesday, 5 May 2026"),
        _DEVICES_URL,
    ),
    subject="Your static address changes on {{ moves_on }}",
    text="""\
Hello {{ name }},

we have to give your line another static address. On {{ moves_on }} the address {{ address }} stops
working, and your line is online again with another one at once.

We write to you with the new address on that day. From then on you find it here, too:
{{ devices_url }}

If you run a server, plan to change its name records and firewall rules that day. Questions, or not
a good day? Call us at {{ phone }}; we are glad to help.

{{ isp }}
""",
)

STATIC_ADDRESS_MOVED = Kind(
    code="static_address_moved",
    title="A static address has changed",
    sent_when="when a static address was renumbered",
    variables=(
        Variable("address", "the new static address", "198.18.20.7"),
        Variable("was", "the address that it was before", "198.18.16.7"),
        _DEVICES_URL,
    ),
    subject="Your static address is {{ address }} now",
    text="""\
Hello {{ name }},

as we wrote to you, your line has another static address now: {{ address }}. It was {{ was }}.

Your devices and their addresses:
{{ devices_url }}

Questions? Call us at {{ phone }}; we are glad to help.

{{ isp }}
""",
)

register(
    ADDRESS_ASKED,
    EXTRA_ADDRESS_GRANTED,
    EXTRA_ADDRESS_ENDED,
    STATIC_ADDRESS_MOVES,
    STATIC_ADDRESS_MOVED,
    CSR_REQUESTS,
)
