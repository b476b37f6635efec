"""Which column of a file is what, and what a row asks for."""

import pytest

from qualification import sheets
from qualification.sheets import Layout, Question


def layout(*columns: str) -> Layout:
    plain = [column.lower() for column in columns]

    def find(*names: str) -> int | None:
        return next((place for place, column in enumerate(plain) if column in names), None)

    return sheets.layout_of(columns, find)


@pytest.mark.parametrize(
    ("values", "question"),
    [
        (["prm_1", "7", "1 Oak", "", "", ""], Question(premises_id="prm_1")),
        (["", "7", "1 Oak", "", "", ""], Question(location_id="7")),
        (["", " ", " 1 Oak ", "", "", ""], Question(address="1 Oak")),
        (["", "", "", "", "", ""], Question(error="The row names no place.")),
        ([], Question(error="The row names no place.")),
        (["", "", "1 Oak"], Question(address="1 Oak")),
        ([""] * 7, Question(error="The row has 7 values for 6 columns.")),
    ],
)
def test_a_row_asks_by_the_first_way_that_is_filled(values: list[str], question: Question) -> None:
    columns = ("premises_id", "location_id", "address", "street", "city", "note")
    assert layout(*columns).question(values) == question


def test_fields_of_an_address_go_by_several_names() -> None:
    found = layout("Street", "UNIT", "City", "Region", "Postal_Code")
    assert found.question(["1 Oak", "2", "Barre", "VT", "05641"]).fields == (
        ("street", "1 Oak"), ("unit", "2"), ("city", "Barre"), ("region", "VT"),
        ("postal_code", "05641"),
    )  # fmt: skip
    assert layout("zip", "state", "street").places == {"postal_code": 0, "region": 1, "street": 2}


@pytest.mark.parametrize(
    ("columns", "enough"),
    [
        (("address",), True),
        (("street",), True),
        (("location_id",), True),
        (("premises_id",), True),
        (("city", "state", "zip"), False),
        (("name",), False),
        ((), False),
    ],
)
def test_a_file_must_name_places(columns: tuple[str, ...], enough: bool) -> None:
    assert layout(*columns).names_places is enough


def test_old_answers_are_left_out_and_all_else_is_carried() -> None:
    found = layout("id", "result_state", "address", "note", "Result_Error")
    assert found.header[:4] == ["id", "address", "note", "result_state"]
    assert found.carry(["1", "qualified", "1 Oak", "x", "y"]) == ["1", "1 Oak", "x"]
    assert found.carry(["1", "qualified"]) == ["1", "", ""]
    assert len(found.header) == 3 + len(sheets.RESULT_COLUMNS)
