"""The JSON of `rlm_rest`. The bodies here were written by a FreeRADIUS 3.2.1."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning import radius
from provisioning.radius import Attributes, Malformed

RECEIVED = datetime(2025, 11, 3, 6, 25, 10, tzinfo=UTC)

AUTHORIZE = (
    b'{"User-Name":{"type":"string","value":["ali\\"ce"]},'
    b'"User-Password":{"type":"string","value":["pw"]},'
    b'"NAS-IP-Address":{"type":"ipaddr","value":["10.0.0.1"]},'
    b'"NAS-Port":{"type":"integer","value":[7]},'
    b'"Service-Type":{"type":"integer","value":["Framed-User"]},'
    b'"Calling-Station-Id":{"type":"string","value":["AA-BB-CC-00-11-22"]},'
    b'"Event-Timestamp":{"type":"date","value":["Nov  3 2025 06:25:00 UTC"]}}'
)
ACCOUNTING = (
    b'{"User-Name":{"type":"string","value":["alice"]},'
    b'"NAS-IP-Address":{"type":"ipaddr","value":["10.0.0.1"]},'
    b'"Framed-IP-Address":{"type":"ipaddr","value":["100.64.0.1"]},'
    b'"Class":{"type":"octets","value":["0x7376635f6162"]},'
    b'"Acct-Status-Type":{"type":"integer","value":[3]},'
    b'"Acct-Delay-Time":{"type":"integer","value":[3]},'
    b'"Acct-Input-Octets":{"type":"integer","value":[4294967295]},'
    b'"Acct-Session-Id":{"type":"string","value":["abc"]},'
    b'"Acct-Authentic":{"type":"integer","value":[1]},'
    b'"Acct-Session-Time":{"type":"integer","value":[5]},'
    b'"Acct-Terminate-Cause":{"type":"integer","value":[1]},'
    b'"Acct-Input-Gigawords":{"type":"integer","value":[2]},'
    b'"Event-Timestamp":{"type":"date","value":["Nov  3 2025 06:25:00 UTC"]}}'
)


def sent(**values: object) -> Attributes:
    return Attributes.of({name.replace("_", "-"): value for name, value in values.items()})


def test_an_authorisation_of_a_real_server() -> None:
    read = Attributes.parse(AUTHORIZE)
    assert read.text("User-Name") == 'ali"ce'
    assert read.text("User-Password") == "pw"
    assert read.text("Calling-Station-Id") == "AA-BB-CC-00-11-22"
    assert read.text("Service-Type") == "Framed-User"
    assert read.number("NAS-Port") == 7
    assert read.address("NAS-IP-Address") == "10.0.0.1"
    assert read.instant("Event-Timestamp") == datetime(2025, 11, 3, 6, 25, tzinfo=UTC)


def test_an_accounting_message_of_a_real_server_with_raw_values() -> None:
    read = Attributes.parse(ACCOUNTING)
    assert radius.status_type(read) == "Interim-Update"
    assert radius.terminate_cause(read) == "User-Request"
    assert read.number("Acct-Input-Octets") == 4294967295
    assert read.number("Acct-Input-Gigawords") == 2
    assert read.number("Acct-Output-Gigawords") is None
    assert read.octets("Class") == "svc_ab"
    assert radius.event_time(read, RECEIVED) == (datetime(2025, 11, 3, 6, 25, tzinfo=UTC), 3)


@pytest.mark.parametrize(
    "value",
    ["ada", ["ada"], ["ada", "bob"], {"value": ["ada"]}, {"type": "string", "value": "ada"}],
)
def test_values_come_in_several_forms(value: object) -> None:
    assert sent(User_Name=value).text("User-Name") == "ada"


@pytest.mark.parametrize("value", [None, [], {"value": []}, {"type": "string"}])
def test_nothing_is_absent(value: object) -> None:
    assert sent(User_Name=value).text("User-Name") == ""


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b'"ada"', b"17", b"null", b"\xff\xfe", b"NaN", b'{"a": NaN}',
        b'{"a": 1e400}', b'{"a": 1.5}', b'{"a": true}', b'{"a": [{}]}', b'{"a": {"value": [[1]]}}',
        b"[" * 60_000, b'{"a":' * 10_000, b'{"a": ' + b"9" * 5000 + b"}",
    ],
    ids=range(17),
)  # fmt: skip
def test_what_is_no_packet_is_refused_in_words(body: bytes) -> None:
    with pytest.raises(Malformed) as refused:
        Attributes.parse(body).number("a")
    assert str(refused.value).endswith(".")


@given(st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
))  # fmt: skip
def test_no_json_breaks_the_reading(value: object) -> None:
    body = json.dumps({"User-Name": value, "Acct-Status-Type": value, "NAS-IP-Address": value})
    try:
        read = Attributes.parse(body.encode("utf-8", "surrogatepass"))
        read.text("User-Name").encode()
        radius.status_type(read)
        read.instant("User-Name")
        read.octets("User-Name")
        radius.event_time(read, RECEIVED)
        read.address("NAS-IP-Address")
    except Malformed:
        pass


def test_text_that_postgresql_cannot_store_is_replaced() -> None:
    assert sent(User_Name="a\x00b").text("User-Name") == "a\ufffdb"
    assert sent(User_Name="a\ud800b").text("User-Name") == "a?b"


@pytest.mark.parametrize("value", [0, "0", 2**63 - 1, "4294967295"])
def test_numbers(value: int | str) -> None:
    assert sent(N=value).number("N") == int(value)


@pytest.mark.parametrize("value", [-1, 2**63, "-1", "1.5", "", "x", "٣", "9" * 30])
def test_what_is_no_counter(value: int | str) -> None:
    with pytest.raises(Malformed, match="N must be a whole number"):
        sent(N=value).number("N")


def test_the_first_address_that_is_there() -> None:
    assert sent(B="2001:db8::1").address("A", "B") == "2001:db8::1"
    assert sent(A="10.0.0.1", B="2001:db8::1").address("A", "B") == "10.0.0.1"
    assert sent().address("A", "B") is None


@pytest.mark.parametrize("value", ["10.0.0", "ada", "10.0.0.1/8", "fe80::1%eth0", 17])
def test_what_is_no_address(value: object) -> None:
    with pytest.raises(Malformed, match="A must be an IP address"):
        sent(A=value).address("A")


@pytest.mark.parametrize(
    "value",
    [
        "Nov  3 2025 06:25:00 UTC", "Nov 3 2025 06:25:00 GMT", 1762151100, "1762151100",
        "2025-11-03T06:25:00Z", "2025-11-03T08:25:00+02:00",
    ],
)  # fmt: skip
def test_dates(value: object) -> None:
    assert sent(T=value).instant("T") == datetime(2025, 11, 3, 6, 25, tzinfo=UTC)


@pytest.mark.parametrize(
    "value", ["Nov  3 2025 06:25:00 EST", "Foo 3 2025 06:25:00 UTC", "2025-11-03T06:25:00", "x",
              "Nov 31 2025 06:25:00 UTC", 2**40]
)  # fmt: skip
def test_a_date_that_could_mean_anything_is_none(value: object) -> None:
    assert sent(T=value).instant("T") is None


@pytest.mark.parametrize(
    ("value", "kind"),
    [(1, "Start"), (2, "Stop"), (3, "Interim-Update"), ("Alive", "Interim-Update"),
     ("Start", "Start"), (7, "Accounting-On"), (8, "Accounting-Off"), (15, "15")],
)  # fmt: skip
def test_status_types(value: object, kind: str) -> None:
    assert radius.status_type(sent(Acct_Status_Type=value)) == kind


@pytest.mark.parametrize(
    ("value", "cause"), [(6, "Admin-Reset"), ("Lost-Carrier",) * 2, (99, "99")]
)
def test_terminate_causes(value: object, cause: str) -> None:
    assert radius.terminate_cause(sent(Acct_Terminate_Cause=value)) == cause


# --- When did it happen? ------------------------------------------------------------------------


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def test_a_clock_that_is_near_enough_is_believed() -> None:
    for off in (-300, 0, 300):
        told = RECEIVED + seconds(off)
        read = sent(Event_Timestamp=int(told.timestamp()), Acct_Delay_Time=7)
        assert radius.event_time(read, RECEIVED) == (told, 7)


@pytest.mark.parametrize("off", [-301, 301, -3600, 3600])
def test_a_clock_that_is_far_off_is_not(off: int) -> None:
    told = RECEIVED + seconds(off)
    read = sent(Event_Timestamp=int(told.timestamp()), Acct_Delay_Time=7)
    assert radius.event_time(read, RECEIVED) == (RECEIVED - seconds(7), 7)


def test_without_a_clock_the_delay_counts() -> None:
    assert radius.event_time(sent(), RECEIVED) == (RECEIVED, 0)
    assert radius.event_time(sent(Acct_Delay_Time=4), RECEIVED) == (RECEIVED - seconds(4), 4)


def test_a_message_out_of_the_spool_keeps_its_time() -> None:
    """The spool held it for an hour, and added that to the delay of 5 seconds."""
    arrived = RECEIVED - seconds(3600)
    read = sent(
        Packet_Original_Timestamp=arrived.strftime("%b %e %Y %H:%M:%S UTC"), Acct_Delay_Time=3605
    )
    assert radius.event_time(read, RECEIVED) == (arrived - seconds(5), 5)


def test_a_message_out_of_the_spool_is_judged_by_its_own_clock() -> None:
    arrived = RECEIVED - seconds(3600)
    told = arrived - seconds(2)
    read = sent(
        Packet_Original_Timestamp=int(arrived.timestamp()), Event_Timestamp=int(told.timestamp())
    )
    assert radius.event_time(read, RECEIVED)[0] == told


@pytest.mark.parametrize(
    "date",
    [
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "Jan  1 0001 00:00:00 UTC",
        "Dec 31 1999 23:59:59 UTC",
    ],
)
def test_a_date_that_no_clock_says_is_none(date: str) -> None:
    for name in ("Event_Timestamp", "Packet_Original_Timestamp"):
        read = sent(**{name: date, "Acct_Delay_Time": 4})
        assert radius.event_time(read, RECEIVED) == (RECEIVED - seconds(4), 4)


def test_a_cause_of_many_digits_is_no_code() -> None:
    assert radius.terminate_cause(sent(Acct_Terminate_Cause="9" * 5000)) == "9" * 5000


def test_a_spool_cannot_have_held_what_is_to_come() -> None:
    later = int((RECEIVED + seconds(60)).timestamp())
    read = sent(Packet_Original_Timestamp=later)
    assert radius.event_time(read, RECEIVED) == (RECEIVED, 0)


# --- Answers ------------------------------------------------------------------------------------


@given(st.dictionaries(st.text(min_size=1), st.text() | st.integers()))
def test_nothing_in_an_answer_is_expanded(values: dict[str, str | int]) -> None:
    written = radius.reply(values)
    assert written.keys() == values.keys()
    for name, value in values.items():
        assert written[name] == {"op": ":=", "value": [value], "do_xlat": False}
