"""A file of blocks in the console: tried first, made then, refused rows saved; the tree again."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from ipam import block_imports
from ipam.models import Block, BlockImport
from ispops.parties import roles
from tests.console.conftest import NOW, World

TEXT = "network,tier\n172.16.0.0/12,allocation\n10.0.0.0/33,region\n"


@pytest.fixture
def client(world: World, as_role: Callable[[str], Client]) -> Client:
    return as_role(roles.OPERATIONS)


def send(client: Client, text: bytes, name: str = "plan.csv") -> object:
    return client.post(
        reverse("admin:console_take_blocks"), {"file": SimpleUploadedFile(name, text)}
    )


def finished() -> BlockImport:
    row = BlockImport.objects.latest("pk")
    while block_imports.read_next(import_id=row.pk, at=NOW):
        pass
    row.refresh_from_db()
    return row


def test_a_file_is_tried_then_made_and_what_is_refused_saved(client: Client) -> None:
    assert send(client, TEXT.encode()).status_code == 302  # type: ignore[attr-defined]
    trial = finished()
    address = reverse("admin:console_block_import", args=[trial.public_id])
    page = client.get(address).content.decode()
    assert "nothing is changed by it" in page
    assert "Make the good rows" in page
    assert not Block.objects.filter(network="172.16.0.0/12").exists()
    refused = client.get(reverse("admin:console_block_import_rejects", args=[trial.public_id]))
    assert "10.0.0.0/33" in b"".join(refused.streaming_content).decode()  # type: ignore[attr-defined]
    client.post(reverse("admin:console_make_blocks", args=[trial.public_id]))
    made = finished()
    assert made.trial == trial
    assert Block.objects.filter(network="172.16.0.0/12").exists()
    page = client.get(reverse("admin:console_block_import", args=[made.public_id])).content.decode()
    assert "What is made of plan.csv" in page
    assert "Make the good rows" not in client.get(address).content.decode()


def test_a_file_that_runs_says_how_far_it_is_and_can_be_stopped(client: Client) -> None:
    send(client, TEXT.encode())
    row = BlockImport.objects.get()
    address = reverse("admin:console_block_import", args=[row.public_id])
    part = client.get(address, headers={"HX-Request": "true"})
    assert "0 of 2 rows" in part.content.decode()
    assert "HX-Refresh" not in part
    client.post(reverse("admin:console_cancel_block_import", args=[row.public_id]))
    assert client.get(address, headers={"HX-Request": "true"})["HX-Refresh"] == "true"
    assert "Cancelled" in client.get(address).content.decode()


def test_a_file_that_cannot_be_read_says_so(client: Client) -> None:
    address = reverse("admin:console_take_blocks")
    assert "No file has come yet" in client.get(address).content.decode()
    assert client.post(address).status_code == 422
    for text in (b"\0", b"PK\x03\x04", b"{", b"\xff\xff"):
        assert send(client, text).status_code == 422  # type: ignore[attr-defined]


def test_the_file_of_the_tree_can_be_read_again(client: Client) -> None:
    saved = b"".join(client.get(reverse("admin:console_addresses_file")).streaming_content)  # type: ignore[attr-defined]
    send(client, saved)
    row = finished()
    assert (row.made, row.already, row.refused) == (0, Block.objects.count(), 0)
