"""What READMEs and docs name exists; the concepts' files and tests are there; nothing tracked names a machine or a registry."""

import re
import subprocess
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import yaml

from flightdeck.cli import main
from flightdeck.settings import ROOT, Settings
from ml.learners import NAMES

FOLDERS = ["dags", "dbt_project", "docs", "expectations", "flightdeck", "governance", "infra", "ingestion", "ml", "monitoring", "serving", "tests", "world"]
LISTED = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard"], check=True, capture_output=True, text=True).stdout.splitlines()
FILES = [name for name in LISTED if (ROOT / name).is_file()]
PLACES = {parent.as_posix() for name in FILES for parent in Path(name).parents} | set(FILES)
DOCS = [name for name in FILES if name.endswith(".md")]
CONCEPTS = "docs/concepts.md"

# made while the platform runs, not part of the repository
GENERATED = re.compile(r"^\.(flightdeck|venv|adapters)\b|^bench\.json$")
ENDINGS = r"\.(?:py|sql|ya?ml|toml|md|cfg|conf|lock|csv)"
PATH = re.compile(rf"(?:[\w.*-]+/)+[\w.*-]*|[\w.*-]+{ENDINGS}")
# where this repository was written, or packages came from, is nobody's business
PRIVATE = {
    "a package registry": re.compile(
        r"(pypi|python[h]osted|npmjs|artifactory|jfrog|nexus|devpi)\.(org|com|io|net)|^\s*--(extra-)?index-url", re.IGNORECASE | re.MULTILINE
    ),
    "a path of one machine": re.compile(r"(?<![\w.}$*])/(root|home|Users|work|mnt|tmp/[a-z])(/[\w.-]+)+"),
}


def _text(name: str) -> str:
    return (ROOT / name).read_text()


def _spans(name: str) -> list[str]:
    """What stands in backticks, and each line of a code block."""
    text = _text(name)
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    outside = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`\n]+)`", outside) + [line for block in blocks for line in block.splitlines()]


def _named(pattern: str) -> list[tuple[str, str]]:
    """(document, name) for each match of the pattern's one group in any document's spans."""
    return [(name, found) for name in DOCS for span in _spans(name) for found in re.findall(pattern, span)]


def _paths(name: str) -> list[str]:
    """The spans that are a path, a part for a name of one's own (`<name>`) and routes (`/health`) apart."""
    spans = [span.split("::")[0].strip() for span in _spans(name)]
    # of a tree in a code block, the folder that a line begins with
    spans += [line.split()[0] for line in spans if re.match(r"[\w.-]+/\s", line)]
    return [span for span in spans if PATH.fullmatch(span) and not GENERATED.search(span)]


def _exists(path: str, document: str) -> bool:
    """From the top, from the document's folder, or, of a bare file name, anywhere below that folder; `*` stands for anything."""
    folder = "" if "/" not in document else f"{Path(document).parent.as_posix()}/"
    wanted = [path.rstrip("/"), folder + path.rstrip("/")]
    if "/" not in path:
        wanted.append(f"{folder}*/{path}")
    return any(fnmatchcase(place, one) for one in wanted for place in PLACES)


def test_each_folder_has_a_readme_and_the_docs_name_much() -> None:
    assert {f"{folder}/README.md" for folder in FOLDERS} | {"README.md", CONCEPTS} <= set(DOCS)
    assert sum(len(_paths(name)) for name in DOCS) > 200


def test_each_page_is_in_the_docs_own_list() -> None:
    named = _text("docs/README.md")
    assert [name for name in DOCS if name.startswith("docs/") and f"`{name}`" not in named and name != "docs/README.md"] == []


@pytest.mark.parametrize("name", DOCS)
def test_every_path_exists(name: str) -> None:
    found = _paths(name)
    assert found
    assert [path for path in found if not _exists(path, name)] == []


def test_every_word_of_the_code_occurs_in_it() -> None:
    code = "".join(_text(name) for name in FILES if name.endswith((".py", ".sql", ".yml", ".yaml", ".toml", ".conf", ".cfg", ".env")) or name == "Makefile")
    known = set(re.findall(r"\w+", code))
    words = [
        (name, word)
        for name in DOCS
        for span in _spans(name)
        if re.fullmatch(r"(?!FLIGHTDECK_)[\w.]+", span) and not PATH.fullmatch(span)
        for word in span.split(".")
    ]
    assert len(words) > 100
    assert [(name, word) for name, word in words if word and word not in known] == []


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", _text("Makefile"), re.MULTILINE))
    named = _named(r"\bmake ([a-z][a-z-]*)")
    assert len(named) >= 8
    assert [(name, target) for name, target in named if target not in targets] == []


def test_make_has_few_targets_and_says_what_each_does() -> None:
    lines = re.findall(r"^([a-z-]+):(.*)$", _text("Makefile"), re.MULTILINE)
    assert 8 <= len(lines) <= 15
    assert [target for target, rest in lines if " ## " not in f" {rest}"] == []


def test_every_command_exists() -> None:
    named = _named(r"(?:^|[\s/(])flightdeck ([a-z]+)")
    assert len(named) >= 5
    assert [(name, command) for name, command in named if command not in main.commands] == []


def test_every_setting_exists() -> None:
    named = _named(r"\bFLIGHTDECK_([A-Z_]*[A-Z])\b")
    assert len(named) >= 5
    assert [(name, setting) for name, setting in named if setting.lower() not in Settings.model_fields] == []


def test_readmes_are_short_and_answer_the_same_questions() -> None:
    assert len(_text("README.md").splitlines()) <= 150
    for folder in FOLDERS:
        text = _text(f"{folder}/README.md")
        assert len(text.splitlines()) <= 40, folder
        assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["What it owns", "What it may import", "How to add one more", "How to swap the tool"], folder


def test_each_concept_names_a_file_and_a_test_that_exist() -> None:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in _text(CONCEPTS).splitlines() if line.startswith("| ") and "`" in line]
    assert len(rows) >= 30
    assert len({row[0] for row in rows}) == len(rows)
    wrong = []
    for concept, devops, files, tests in rows:
        assert concept
        assert devops
        named, shown = re.findall(r"`([^`]+)`", files), re.findall(r"`([^`]+)::(test_\w+)`", tests)
        assert named, concept
        assert shown, concept
        wrong += [name for name in named if name not in PLACES]
        wrong += [f"{name}::{test}" for name, test in shown if name not in FILES or not re.search(rf"^def {test}\(", _text(name), re.MULTILINE)]
    assert wrong == []


@pytest.mark.parametrize("what", PRIVATE)
def test_no_file_names(what: str) -> None:
    assert len(FILES) > 100
    hits = [(name, hit.group()) for name in FILES for hit in [PRIVATE[what].search((ROOT / name).read_text(errors="replace"))] if hit]
    assert hits == []


def test_every_knob_is_read_somewhere() -> None:
    code = "".join(_text(name) for name in FILES if name.endswith(".py") and not name.startswith("tests/"))
    sections = yaml.safe_load(_text("params.yaml"))
    # a learner's own section is read by its name
    knobs = [(section, knob) for section, values in sections.items() for knob in values if (section, knob) not in [("train", name) for name in NAMES]]
    assert len(knobs) >= 15
    assert [section for section in sections if not re.search(rf"\[[\"']{section}[\"']\]", code)] == []
    assert [knob for _, knob in knobs if not re.search(rf"\[[\"']{knob}[\"']\]", code)] == []
