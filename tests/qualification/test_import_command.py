"""The command that imports a list: what it prints, applies and refuses."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.core.management import CommandError, call_command

from ispops.parties.models import AuditEntry
from qualification import coverage
from qualification.models import CoverageArea, CoverageImport, Premises
from tests.qualification.lists import PUBLIC_HEADER, REAL_ROW
from tests.small_isp import LAUNCH, OAK, make_partner

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _own_folder(settings: LazySettings, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path / "files"


@pytest.fixture
def public(tmp_path: Path) -> Path:
    make_partner("fast-fibre", "Fast Fibre", "network_provider", LAUNCH)
    house = {"street": "1 Oak Street", **OAK, "location_id": "1037392925"}
    coverage.import_premises(rows=[house], at=LAUNCH)
    path = tmp_path / "public.csv"
    unknown = REAL_ROW.replace("1037392925", "7")
    path.write_text(f"{PUBLIC_HEADER}\n{REAL_ROW}\n{unknown}\n")
    return path


def run(file: Path, *options: str) -> str:
    told = io.StringIO()
    call_command("import_coverage", str(file), *options, stdout=told)
    return told.getvalue()


PUBLIC = ("--provider", "fast-fibre", "--format", "fcc_public")


def test_it_says_what_a_list_comes_to_and_changes_nothing(public: Path) -> None:
    told = run(public, *PUBLIC)
    row = CoverageImport.objects.get()
    assert told.splitlines() == [
        "added                 1",
        "changed               0",
        "removed               0",
        "unchanged             0",
        "rejected              1",
        "  1 x location_id: There is no place with this id.",
        f"The rejected rows are in {row.rejects.path}",
        f"Nothing is applied. {row.public_id} waits in the console.",
    ]
    assert not CoverageArea.objects.exists()
    assert "on the command line" in AuditEntry.objects.get(subject=row.public_id).actor_name


def test_it_applies_when_told_to(public: Path) -> None:
    told = run(public, *PUBLIC, "--cells", "--complete", "--apply")
    row = CoverageImport.objects.get()
    assert told.splitlines()[-1] == f"Applied as {row.public_id}."
    assert (row.state, row.is_complete, row.use_cells) == ("applied", True, True)
    assert CoverageArea.objects.count() == 2


def test_it_imports_places(tmp_path: Path) -> None:
    path = tmp_path / "places.csv"
    path.write_text("street,city,state,zip\n1 Oak Street,Barre,VT,05641\n")
    run(path, "--format", "premises", "--apply")
    assert Premises.objects.count() == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "provider: Choose the network"),
        (("--provider", "nobody"), "There is no partner nobody"),
        (PUBLIC[:2], "file: The header has two columns|file: The header lacks"),
        ((*PUBLIC[:2], "--cells"), "use_cells: Only the published form"),
    ],
)
def test_what_cannot_be_is_one_line(public: Path, options: tuple[str, ...], words: str) -> None:
    public.write_text("a,b\n1,2\n")
    with pytest.raises(CommandError, match=words):
        run(public, *options)
    assert not CoverageImport.objects.exists()


def test_a_file_that_is_not_there_is_one_line(public: Path) -> None:
    with pytest.raises(CommandError, match="No such file"):
        run(public.with_name("nothing.csv"), *PUBLIC)


def test_a_list_that_cannot_be_read_says_the_line(public: Path) -> None:
    public.write_text(public.read_text() + '"never closed\n')
    with pytest.raises(CommandError, match="begins in line 4"):
        run(public, *PUBLIC, "--apply")
    assert CoverageImport.objects.get().state == "failed"
