"""A file of blocks in the console: seen first, made then, refused rows saved; the tree again."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from ipam.models import Block
from ispops.parties import roles
from tests.console.conftest import World

TEXT = "network,tier\n172.16.0.0/12,allocation\n10.0.0.0/33,region\n"


@pytest.fixture
def client(world: World, as_role: Callable[[str], Client]) -> Client:
    return as_role(roles.OPERATIONS)


def send(client: Client, text: bytes, name: str = "plan.csv") -> object:
    return client.post(
        reverse("admin:console_take_blocks"), {"file": SimpleUploadedFile(name, text)}
    )


def test_a_file_is_seen_then_made_and_what_is_refused_saved(client: Client) -> None:
    address = reverse("admin:console_take_blocks")
    page = send(client, TEXT.encode()).content.decode()  # type: ignore[attr-defined]
    assert "nothing is changed yet" in page
    assert not Block.objects.filter(network="172.16.0.0/12").exists()
    again = {"text": TEXT, "file_name": "plan.csv"}
    refused = client.post(address, {**again, "what": "rejects"})
    assert "10.0.0.0/33" in b"".join(refused.streaming_content).decode()
    again["file_name"] += "\0"
    page = client.post(address, {**again, "what": "apply"}).content.decode()
    assert "What came of plan.csv" in page
    assert Block.objects.filter(network="172.16.0.0/12").exists()


def test_a_file_that_cannot_be_read_says_so(client: Client) -> None:
    address = reverse("admin:console_take_blocks")
    assert client.get(address).status_code == 200
    assert client.post(address).status_code == 422
    for text in (b"\0", b"PK\x03\x04", b"{", b"\xff\xff"):
        assert send(client, text).status_code == 422  # type: ignore[attr-defined]


def test_the_file_of_the_tree_can_be_read_again(client: Client) -> None:
    saved = b"".join(client.get(reverse("admin:console_addresses_file")).streaming_content)  # type: ignore[attr-defined]
    page = send(client, saved).content.decode()  # type: ignore[attr-defined]
    assert "Refused" in page
    assert page.count("There already") == Block.objects.count() + 1
