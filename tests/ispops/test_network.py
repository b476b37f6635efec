"""The closed network of the tests closes what it says, and nothing else."""

import socket

import pytest
import requests

from tests.network import NetworkClosed


@pytest.mark.parametrize(
    "address", ["http://192.0.2.1/", "http://isp.example/", "http://[2001:db8::1]/"]
)
def test_another_machine_cannot_be_reached(address: str) -> None:
    with pytest.raises(NetworkClosed):
        requests.get(address, timeout=1)


def test_a_datagram_cannot_be_connected_either() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender, pytest.raises(NetworkClosed):
        sender.connect(("192.0.2.1", 1812))


def test_loopback_works() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname(), timeout=1) as client,
    ):
        assert client.getpeername() == server.getsockname()
