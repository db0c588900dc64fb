"""The shape of the code: what each kind of file may hold, how large it may grow, and who may import whom."""

import ast
import io
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from flightdeck.settings import ROOT

PACKAGES = ["dags", "flightdeck", "ingestion", "expectations", "ml", "serving", "monitoring", "governance", "world", "infra"]
PRODUCT = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
# other tools in the same loop: small files beside the core, which does not know them
ADAPTERS = [path for path in PRODUCT if path.parent.name == "adapters"]
DAGS = [path for path in PRODUCT if path.parent.name == "dags" and path.name != "__init__.py"]
WORDS = re.compile(r"\b(flights?|airports?|carriers?|airlines?|tailnums?|weather|planes?|aircraft)\b", re.IGNORECASE)
# Where the worked example may be named: the list is what "make it yours" costs.
EXAMPLE = [
    "world/", "dbt_project/", "expectations/suites/", "expectations/repairs/", "docs/", "tests/",
    "ingestion/operations.py", "ingestion/stations.py", "ingestion/registry.py", "ingestion/contracts/", "ingestion/tables.sql", "ingestion/batches/",
    "ingestion/adapters/",  # each brings one of the example's tables
    "ml/features.py", "serving/schema.py", "serving/openapi.yaml", "serving/reference.py", "dags/world.py", "params.yaml", "Makefile",
]  # fmt: skip
SQL = re.compile(r"\b(select\b.+\bfrom|insert\s+into|update\b.+\bset|delete\s+from|create\s+(table|view))\b", re.IGNORECASE | re.DOTALL)


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _nodes(path: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(path.read_text()))


def _lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def _code_lines(path: Path) -> int:
    """Lines without blank ones, comments and docstrings."""
    text = path.read_text()
    documented: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(node) is not None:
            documented |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    silent = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    tokens = [token for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type not in silent]
    return len({line for token in tokens for line in range(token.start[0], token.end[0] + 1)} - documented)


def _top_imports(path: Path) -> set[str]:
    """The packages that a file imports at its top."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or ".").split(".")[0])
    return found


def test_there_is_something_to_look_at() -> None:
    assert {path.stem for path in DAGS} == {"world", "timetable", "ingest", "transform", "monitor", "train", "deploy", "canary", "retention", "lineage"}
    assert len(PRODUCT) > 50
    assert {path.relative_to(ROOT).parts[0] for path in PRODUCT} == set(PACKAGES)


@pytest.mark.parametrize("path", DAGS, ids=_name)
def test_a_dag_file_is_a_table_of_contents(path: Path) -> None:
    assert _lines(path) <= 60
    banned = (ast.For, ast.While, ast.AsyncFor, ast.comprehension, ast.Try, ast.TryStar, ast.ClassDef, ast.If, ast.With)
    assert [type(node).__name__ for node in _nodes(path) if isinstance(node, banned)] == []
    texts = [node.value for node in _nodes(path) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    assert [text for text in texts if SQL.search(text)] == []
    assert "DataFrame" not in path.read_text()
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    assert all(f"\n{word}" in f"\n{docstring}" or f" {word}" in docstring for word in ("Reads ", "Writes ", "Promises: "))


@pytest.mark.parametrize("path", DAGS, ids=_name)
def test_a_dag_file_imports_airflow_and_flightdeck_at_its_top(path: Path) -> None:
    assert _top_imports(path) <= {"airflow", "flightdeck", "typing"}


@pytest.mark.parametrize("path", DAGS, ids=_name)
def test_a_task_body_is_one_call(path: Path) -> None:
    tasks = [node for node in _nodes(path) if isinstance(node, ast.FunctionDef) and any("task" in ast.unparse(mark) for mark in node.decorator_list)]
    assert tasks
    for task in tasks:
        work = [statement for statement in task.body if not isinstance(statement, ast.ImportFrom)]
        assert len(work) == 1, task.name
        assert isinstance(work[0], ast.Return | ast.Expr)
        assert isinstance(work[0].value, ast.Call)


def test_no_product_file_is_long() -> None:
    assert [f"{_name(path)}: {_lines(path)}" for path in PRODUCT if _lines(path) > 250] == []


def test_product_is_small() -> None:
    """Lines that hold code; `world` is the example's outside, and stays behind when somebody brings sources of their own.

    Adapters are counted apart: whoever has the tool takes one, and nobody all of them.
    """
    core = [path for path in PRODUCT if path not in ADAPTERS]
    folders = {package: sum(_code_lines(path) for path in core if path.relative_to(ROOT).parts[0] == package) for package in PACKAGES}
    assert all(folders.values())
    assert sum(count for package, count in folders.items() if package != "world") < 9800, folders


def test_an_adapter_is_one_small_file_that_the_core_does_not_import() -> None:
    assert len(ADAPTERS) > 5
    assert [f"{_name(path)}: {_lines(path)}" for path in ADAPTERS if _lines(path) > 100] == []
    imports = {path: [ast.unparse(node) for node in _nodes(path) if isinstance(node, ast.Import | ast.ImportFrom)] for path in PRODUCT}
    assert any("ingestion.adapters" in line for path in ADAPTERS for line in imports[path])
    assert [_name(path) for path in PRODUCT if path not in ADAPTERS and any("adapters" in line for line in imports[path])] == []


def test_each_product_module_says_what_it_is() -> None:
    assert [_name(path) for path in PRODUCT if path.read_text().strip() and not ast.get_docstring(ast.parse(path.read_text()))] == []


def test_nothing_prints() -> None:
    calls = [(path, node) for path in PRODUCT for node in _nodes(path) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    assert len(calls) > 100
    assert [f"{_name(path)}:{node.lineno}" for path, node in calls if ast.unparse(node.func) == "print"] == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert [_name(path) for path in PRODUCT if re.search(r"(^|_)(utils?|helpers?|commons?|misc|managers?)$", path.stem)] == []


def test_words_of_the_example_stay_where_they_belong() -> None:
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard"], check=True, capture_output=True, text=True).stdout.split()
    present = [name for name in listed if (ROOT / name).is_file()]
    named = {name for name in present if WORDS.search((ROOT / name).read_text(errors="replace"))}
    own = [name for name in present if not name.startswith(tuple(EXAMPLE)) and Path(name).name != "README.md"]
    assert len(own) > 50
    # each place on the list is there because it needs the words
    assert [place for place in EXAMPLE if not any(name.startswith(place) for name in named)] == []
    assert sorted(named & set(own)) == []


def test_import_contracts_hold() -> None:
    done = subprocess.run([str(Path(sys.executable).with_name("lint-imports"))], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "4 kept, 0 broken" in done.stdout


def test_import_contracts_forget_no_module() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    shared = next(contract for contract in contracts if contract["name"] == "the rest of flightdeck imports no stage")
    modules = {f"flightdeck.{path.stem}" for path in (ROOT / "flightdeck").glob("*.py")} - {
        "flightdeck.__init__",
        "flightdeck.cli",
        "flightdeck.operations",
        "flightdeck.privacy",
        "flightdeck.provenance",
        "flightdeck.rebuild",
        "flightdeck.rollouts",
        "flightdeck.quarantine",
        "flightdeck.drills",
        "flightdeck.impostors",
    }
    assert set(shared["source_modules"]) == modules
    outside = next(contract for contract in contracts if contract.get("forbidden_modules") == ["world"])
    assert {module for module in outside["source_modules"] if module.startswith("dags.")} == {f"dags.{path.stem}" for path in DAGS} - {"dags.world"}


def test_the_lock_pins_and_hashes_everything() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {re.match(r"[\w.-]+", line).group().lower().replace("_", "-") for line in declared}  # type: ignore[union-attr]
    assert len(names) > 20
    for lock in sorted(ROOT.glob("requirements*.lock")):
        entries = re.split(r"\n(?=[a-z0-9])", lock.read_text())
        pins = [entry for entry in entries if not entry.startswith("#")]
        assert pins
        assert [entry.splitlines()[0] for entry in pins if not re.match(r"[\w.-]+(\[[\w,-]+\])?==", entry) or "--hash=sha256:" not in entry] == []
    locked = set(re.findall(r"^([a-z0-9.-]+)(?:\[[\w,-]+\])?==", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    assert names - locked == set()


def test_ci_runs_what_people_run() -> None:
    makefile = (ROOT / "Makefile").read_text()
    recipes = dict(re.findall(r"^(\w+):.*\n((?:\t.*\n)+)", makefile, re.MULTILINE))
    assert "make test" in (ROOT / ".ci/run").read_text()
    assert re.search(r"^test:[^#\n]* check\b", makefile, re.MULTILINE)
    assert "pytest" in recipes["test"]
    assert [tool for tool in ("ruff format --check", "ruff check", "mypy", "lint-imports", "sqlfluff lint") if tool not in recipes["check"]] == []


def test_the_image_gets_every_package() -> None:
    listed = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert set(PACKAGES) <= listed
