"""An address server gets another secret, and is switched off and on, by who runs the machines."""

import io

import pytest
from django.core.management import CommandError, call_command

from ipam import queries
from tests.ipam.ground import SECRET, a_server

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> str:
    said = io.StringIO()
    call_command("address_server", *arguments, stdout=said)
    return said.getvalue().strip()


def test_a_new_secret_takes_the_place_of_the_old() -> None:
    server = a_server()
    secret = run(server.name, "--new-secret").rpartition(" ")[2]
    assert queries.authenticate_server(server.name, secret) == server
    assert queries.authenticate_server(server.name, SECRET) is None


def test_a_server_is_switched_off_and_on() -> None:
    server = a_server()
    assert run(server.name, "--off") == "aaa-test is served no more."
    assert queries.authenticate_server(server.name, SECRET) is None
    assert run(server.name, "--on") == "aaa-test is served."
    assert queries.authenticate_server(server.name, SECRET) == server


@pytest.mark.parametrize("what", ["--new-secret", "--off"])
def test_a_server_that_there_is_not(what: str) -> None:
    with pytest.raises(CommandError, match="no address server nobody"):
        run("nobody", what)
