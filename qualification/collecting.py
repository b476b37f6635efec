"""What providers answered by file: picked up, taken row by row, and put away."""

import logging
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.db import transaction

from ispops.errors import PermanentFault, TransientFault
from qualification import inquiries
from qualification.models import ProviderConnection, ProviderInquiry
from qualification.providers import base, files
from qualification.providers.base import Answer, WrongAddress
from qualification.providers.files import AnswerFile, FileProvider, Row
from qualification.providers.registry import place_of, premises_of

log = logging.getLogger(__name__)
State = ProviderInquiry.State


def collect(*, at: datetime) -> int:
    """Take in the answers that providers have put into their folders; returns how many files.

    A file is put away after its rows were taken; one that is read again, because the worker died
    before that, changes nothing. A row that cannot be used is listed with the reason, and its
    question stays open.
    """
    count = 0
    exchanges = ProviderConnection.objects.filter(
        adapter=ProviderConnection.Adapter.FILES, active=True, partner__active=True
    )
    for connection in exchanges:
        try:
            provider = FileProvider(folder=connection.folder)
            for file in provider.answer_files():
                _take_file(connection, file, at)
                provider.put_away(file)
                count += 1
        except (OSError, PermanentFault) as fault:
            log.warning("the folder of %s cannot be used: %s", connection, fault)
            _note(connection, f"Its folder cannot be used: {fault}")
    return count


def _take_file(connection: ProviderConnection, file: AnswerFile, at: datetime) -> None:
    if file.fault:
        _note(connection, f"{base.words(file.path.name, 200)}: {file.fault}")
    for reference, rows in file.by_inquiry.items():
        key = ProviderInquiry.key_of(reference)
        asked = ProviderInquiry.objects.filter(connection=connection)
        asked = asked.select_related("qualification__premises")
        inquiry = asked.filter(pk=key).first() if key else None
        if inquiry is None:
            file.reject(rows, "This is none of the questions that we asked.")
        else:
            _take_rows(inquiry, file, rows, at)


def _take_rows(
    inquiry: ProviderInquiry, file: AnswerFile, rows: Sequence[Row], at: datetime
) -> None:
    try:
        told = files.read_answer(rows, place_of(premises_of(inquiry)), at=at)
    except (TransientFault, WrongAddress) as fault:
        reason = str(fault)
        file.reject(rows, reason)
        ProviderInquiry.objects.filter(pk=inquiry.pk).update(last_error=reason[:300])
    else:
        _take(inquiry.pk, told, at)
        file.taken = True


@transaction.atomic
def _take(inquiry_id: UUID, told: Answer, at: datetime) -> None:
    """Close the inquiry; an answer that came too late for it serves the next one."""
    inquiry = inquiries.lock(inquiry_id)
    if inquiry.state == State.PENDING:
        inquiries.answer(inquiry=inquiry, told=told, at=at)
        return
    premises = premises_of(inquiry)
    is_late = inquiry.state == State.GIVEN_UP
    if is_late and not inquiries.fresh_answer(inquiry.connection, premises, at):
        inquiries.keep(inquiry=inquiry, told=told, at=at)


def _note(connection: ProviderConnection, error: str) -> None:
    ProviderConnection.objects.filter(pk=connection.pk).update(last_error=error[:300])
