"""Every file is in its room and keeps to its kind; see `rooms`."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture import rooms

OUTSIDE = {
    *("allauth", "celery", "django", "drf_spectacular", "redis", "rest_framework"),
    *("httpx", "psycopg2", "requests", "socket", "urllib"),
    *("os", "pathlib", "random", "secrets", "subprocess", "tempfile", "time", "uuid_utils"),
}
CLOCKS_AND_FILES = {"now", "today", "utcnow", "localtime", "open", "print", "input"}
WRITES = {
    *("save", "create", "bulk_create", "bulk_update", "get_or_create", "update_or_create"),
    *("acreate", "asave", "adelete", "aupdate", "delete", "update"),
}
MOST_LINES = 420
MOST_LINES_OF_MODELS = 520
"""The tables of one department are read as one text."""
MOST_LINES_OF_A_FUNCTION = 60
# `models` where the tables fill more than one file; the rest of the second line are adapters.
FOLDERS = {"__pycache__", "migrations", "models", "static", "templatetags"} | {
    *("countries", "delivery", "gateways", "network", "providers", "servers"),
}


@pytest.mark.parametrize("app", rooms.ROOMS)
def test_an_app_has_the_files_it_may_have(app: str) -> None:
    folder = rooms.REPOSITORY / app.replace(".", "/")
    room = rooms.ROOMS[app]
    there = {path.stem for path in folder.glob("*.py")}
    assert there - room.files == set(), "enter the new file in tests/architecture/rooms.py"
    assert room.files - rooms.INTERFACE - there == set(), "the register names a file that is gone"
    folders = {path.name for path in folder.iterdir() if path.is_dir()}
    assert folders <= FOLDERS


@pytest.mark.parametrize("module", sorted(rooms.modules("pure")))
def test_a_pure_module_decides_and_computes_only(module: str) -> None:
    tree = _tree(rooms.path_of(module))
    imported = set(_imports(tree))
    assert {name for name in imported if name.split(".")[0] in OUTSIDE} == set()
    impure = {
        name
        for name in imported
        if name.split(".")[0] in {"ispops", *(app.split(".")[0] for app in rooms.ROOMS)}
        and name not in rooms.modules("pure")
        and f"{name}" not in _packages()
    }
    assert impure == set(), "a pure module imports pure modules only"
    called = {name for name, _ in _calls(tree)}
    assert called & CLOCKS_AND_FILES == set()


def test_only_verbs_write_rows() -> None:
    writers = rooms.modules("verbs") | {"ispops.parties.rest", "ispops.parties.models"}
    # It measures orders of steps that no planner plans.
    writers |= {"ispops.benches.provisioning"}
    found = [
        f"{path.relative_to(rooms.REPOSITORY)}:{call.lineno} {ast.unparse(call.func)}"
        for path in rooms.sources()
        if rooms.module_of(path) not in writers
        for name, call in _calls(_tree(path))
        if name in WRITES and _is_about_rows(name, call)
    ]
    assert found == []


def test_mypy_is_strict_where_the_register_says() -> None:
    settings = tomllib.loads((rooms.REPOSITORY / "pyproject.toml").read_text())
    strict = settings["tool"]["mypy"]["overrides"][0]["module"]
    closely = rooms.modules("pure") | rooms.modules("verbs") | rooms.ADAPTERS
    assert sorted(strict) == sorted(closely)


def test_files_and_functions_can_be_read_in_one_go() -> None:
    long = []
    for path in rooms.sources():
        where = path.relative_to(rooms.REPOSITORY)
        lines = len(path.read_text().splitlines())
        if lines > (MOST_LINES_OF_MODELS if path.name == "models.py" else MOST_LINES):
            long.append(f"{where} has {lines} lines")
        for node in ast.walk(_tree(path)):
            if isinstance(node, ast.FunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                if length > MOST_LINES_OF_A_FUNCTION:
                    long.append(f"{where}:{node.lineno} {node.name} has {length} lines")
    assert long == []


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def _imports(tree: ast.Module) -> Iterator[str]:
    """Full names of what is imported; what comes from a package counts as a module of it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ""
            if source in _packages():
                yield from (f"{source}.{name.name}" for name in node.names)
            else:
                yield source


def _packages() -> set[str]:
    return {"ispops", *rooms.ROOMS}


def _calls(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute):
                yield node.func.attr, node
            elif isinstance(node.func, ast.Name):
                yield node.func.id, node


def _is_about_rows(name: str, call: ast.Call) -> bool:
    """Dictionaries and hashes have an update, too; rows are reached through a manager."""
    if not isinstance(call.func, ast.Attribute):
        return False
    receiver = ast.unparse(call.func.value)
    return name not in {"update", "delete"} or "objects" in receiver or "filter(" in receiver
