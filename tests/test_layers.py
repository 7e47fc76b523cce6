"""The arrows of the architecture, over every import of every module, those inside functions included.

::

    service ──▶ web ──▶ tasks
       └────────────────▶┘
"""

import ast
import functools
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("service", "tasks", "web")
MAY_IMPORT = {"tasks": {"tasks"}, "web": {"web", "tasks"}, "service": {"service", "web", "tasks"}}
HOMES = {
    "redis": {"tasks.store"},
    "arq": {"tasks.stock", "tasks.store", "tasks.worker"},
    "aiosmtplib": {"tasks.opening", "tasks.smtp"},
    "uvicorn": {"service.connection", "service.server", "service.whole"},
    "httptools": {"service.connection"},
    "aiosmtpd": {"service.sink"},
    "uvloop": {"service.__main__", "tasks.__main__"},
    "dns": {"service.domains"},
    "idna": {"tasks.host"},
    "itsdangerous": {"web.session"},
    "jinja2": {"web.frame"},
    "markdown_it": {"web.info"},
}
"""The only modules that may know these libraries."""


class Import(NamedTuple):
    """One imported name, where it stands, and whether only a type checker follows it."""

    by: str
    line: int
    name: str
    for_types: bool


def modules() -> dict[str, Path]:
    """Every module of ours by name."""
    found: dict[str, Path] = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


@functools.cache
def parsed() -> dict[str, ast.Module]:
    return {name: ast.parse(path.read_text("utf-8"), str(path)) for name, path in modules().items()}


def imports(module: str, tree: ast.Module) -> Iterator[Import]:
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}
        for part in node.body
        for inner in ast.walk(part)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: imports are absolute"
            assert node.module is not None
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            yield Import(module, node.lineno, name, id(node) in for_types)


@functools.cache
def all_imports() -> list[Import]:
    return [found for module, tree in parsed().items() for found in imports(module, tree)]


def code_texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every string that is not documentation."""
    bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in bare:
            yield node.lineno, node.value


def calls_of(tree: ast.Module, owner: str) -> Iterator[tuple[int, str]]:
    """Attributes of the name ``owner`` that are looked up."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == owner:
            yield node.lineno, node.attr


def test_the_scan_sees_every_package_and_imports_inside_functions() -> None:
    found = all_imports()
    assert {one.by.partition(".")[0] for one in found} == set(PACKAGES)
    assert any(one.by == "service.cli" and one.name == "service.up.main" for one in found)  # stands in a function
    assert any(one.for_types for one in found)


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_follow_the_arrows(package: str) -> None:
    wrong = [
        f"{one.by}:{one.line} imports {one.name}"
        for one in all_imports()
        if one.by.partition(".")[0] == package
        and one.name.partition(".")[0] in PACKAGES
        and one.name.partition(".")[0] not in MAY_IMPORT[package]
    ]
    assert wrong == []


def test_there_is_no_http_on_the_ground_floor() -> None:
    http = {"litestar", "starlette", "uvicorn", "httptools", "httpx", "jinja2", "http", "urllib.request"}
    wrong = [one for one in all_imports() if one.by.startswith("tasks") and _is_of(one.name, http)]
    assert wrong == []


@pytest.mark.parametrize("library", sorted(HOMES))
def test_each_foreign_library_has_one_home(library: str) -> None:
    wrong = [
        f"{one.by}:{one.line} imports {one.name}"
        for one in all_imports()
        if _is_of(one.name, {library}) and not one.for_types and one.by not in HOMES[library]
    ]
    assert wrong == []


def _is_of(name: str, libraries: set[str]) -> bool:
    return any(name == library or name.startswith(f"{library}.") for library in libraries)


def test_tests_and_tools_are_never_imported() -> None:
    tools = {"tests", "pytest", "hypothesis", "httpx", "cryptography", "fast_mail_parser", "unittest"}
    assert [one for one in all_imports() if _is_of(one.name, tools)] == []


def test_only_the_settings_read_the_environment() -> None:
    words = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}
    wrong = [
        f"{module}:{line} os.{name}"
        for module, tree in parsed().items()
        for line, name in calls_of(tree, "os")
        if name in words and module != "tasks.settings"
    ]
    wrong += [f"{one.by}:{one.line}" for one in all_imports() if one.name in {f"os.{word}" for word in words}]
    assert wrong == []


def test_only_the_log_modules_set_up_loguru() -> None:
    words = {"add", "remove", "configure", "patch", "level", "disable", "enable", "reinstall"}
    wrong = [
        f"{module}:{line} logger.{name}"
        for module, tree in parsed().items()
        for line, name in calls_of(tree, "logger")
        if name in words and module not in {"tasks.log", "tasks.logsink", "tasks.logfile"}
    ]
    assert wrong == []


def test_nothing_logs_by_print_or_the_standard_library() -> None:
    """The command line prints its results; everything else goes through loguru."""
    printing = {
        "service.cli",
        "service.doctor",
        "service.trial",
        "service.up",
        "service.__main__",
        "tasks.__main__",
        "tasks.stock",
        "tasks.logsink",
        "tasks.log",
        "tasks.logfile",
    }
    wrong = [
        f"{module}:{node.lineno}"
        for module, tree in parsed().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print" and module not in printing
    ]
    wrong += [
        f"{one.by}:{one.line}" for one in all_imports() if _is_of(one.name, {"logging"}) and not one.by.startswith("tasks.log")
    ]
    assert wrong == []


def test_every_redis_key_is_named_in_one_module() -> None:
    key = re.compile(r"(?:ems|arq):[a-z]")
    wrong = [
        f"{module}:{line} {text!r}"
        for module, tree in parsed().items()
        for line, text in code_texts(tree)
        if key.search(text) and module != "tasks.keys"
    ]
    for path in sorted((ROOT / "tasks" / "lua").glob("*.lua")):
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if key.search(line.partition("--")[0]):
                wrong.append(f"{path.name}:{number} {line.strip()}")
    assert wrong == []


def test_every_key_stands_in_the_table() -> None:
    tree = parsed()["tasks.keys"]
    table = ast.get_docstring(tree) or ""
    for line, text in code_texts(tree):
        if text.startswith(("ems:", "arq:")):
            assert text.removesuffix(":high").removesuffix(":low").rstrip(":") in table, f"keys.py:{line}"


def test_modules_say_what_they_are_for() -> None:
    for name, tree in parsed().items():
        if tree.body:
            text = " ".join((ast.get_docstring(tree) or "").split())
            assert re.search(r"This module is |This module turns |This module parses ", text), name


def test_annotations_stay_readable_for_litestar_and_msgspec() -> None:
    assert [one for one in all_imports() if one.name == "__future__.annotations"] == []


IMPORT_ALL = """
import builtins, importlib, json, os, sys
ours, foreign = json.loads(sys.argv[1])
for name in foreign:
    importlib.import_module(name)
done = []
packages = tuple(os.path.join(os.getcwd(), part) for part in ("service", "tasks", "web"))
def hook(event, args):
    if event == "open" and not str(args[0]).endswith((".py", ".pyc", ".so")):
        if isinstance(args[0], int) or not os.path.abspath(os.fsdecode(args[0])).startswith(packages):
            done.append(f"open {args[0]}")
    elif event.startswith(("socket.", "subprocess.", "os.fork", "os.mkdir", "os.remove", "os.rename", "signal.")):
        done.append(f"{event} {args}")
class Watched(dict):
    def __getitem__(self, key): done.append(f"environ {key}"); return dict.__getitem__(self, key)
    def get(self, key, default=None): done.append(f"environ {key}"); return dict.get(self, key, default)
    def __contains__(self, key): done.append(f"environ {key}"); return dict.__contains__(self, key)
    def __iter__(self): done.append("environ"); return dict.__iter__(self)
    def keys(self): done.append("environ"); return dict.keys(self)
    def items(self): done.append("environ"); return dict.items(self)
sys.addaudithook(hook)
os.environ = Watched(os.environ)
import threading
threads = threading.active_count()
for name in ours:
    importlib.import_module(name)
print(json.dumps([done, threading.active_count() - threads]))
"""


def test_no_import_does_work() -> None:
    """In a fresh interpreter, after the foreign libraries: no socket, no environment, no file but code and package data.

    ``-B``: whichever test comes first would else see Python write its compiled code.
    """
    foreign = sorted({
        name
        for one in all_imports()
        if not one.for_types and not _is_of(one.name, {*PACKAGES, "__future__"})
        for name in [_module_of(one.name)]
    })  # fmt: skip
    answer = subprocess.run(
        [sys.executable, "-B", "-W", "error", "-c", IMPORT_ALL, json.dumps([list(modules()), foreign])],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=9,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout) == [[], 0]


def _module_of(name: str) -> str:
    """The module to import for an imported name: the longest part of it that is one."""
    import importlib.util

    while "." in name:
        try:
            if importlib.util.find_spec(name) is not None:
                return name
        except ModuleNotFoundError:
            pass
        name = name.rpartition(".")[0]
    return name
