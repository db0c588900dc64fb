"""Terraform's files: formatted, of the language's grammar, and each name that is used is defined. The provider's own schema is not looked at."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from flightdeck.settings import ROOT

FILES = sorted((ROOT / "infra/terraform").glob("*.tf"))
TEXT = "".join(path.read_text() for path in FILES)


@pytest.fixture(scope="module")
def parsed(checks: Path) -> list[dict[str, Any]]:
    return [json.loads(subprocess.run([str(checks / "hcl2tojson"), str(path)], check=True, capture_output=True, text=True).stdout) for path in FILES]


def plain(name: str) -> str:
    return name.strip('"')


def undefined(files: list[dict[str, Any]], text: str) -> set[str]:
    """What is named and nowhere defined: variables, locals, resources, data."""
    defined: set[str] = set()
    for file in files:
        for kind, prefix in (("resource", ""), ("data", "data.")):
            defined |= {f"{prefix}{plain(of)}.{plain(name)}" for block in file.get(kind, []) for of, named in block.items() for name in named}
        defined |= {f"var.{plain(name)}" for block in file.get("variable", []) for name in block}
        defined |= {f"local.{name}" for block in file.get("locals", []) for name in block}
    used = set(re.findall(r"\b((?:data\.)?aws_\w+\.\w+|(?:var|local)\.\w+)", re.sub(r"#.*", "", text)))
    return used - defined


def test_they_are_formatted() -> None:
    assert len(FILES) > 4
    done = subprocess.run(["terraform", "fmt", "-check", "-diff", str(ROOT / "infra/terraform")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_each_name_that_is_used_is_defined(parsed: list[dict[str, Any]]) -> None:
    assert undefined(parsed, TEXT) == set()
    assert undefined(parsed, TEXT + "\nx = aws_s3_bucket.that.arn + var.nothing") == {"aws_s3_bucket.that", "var.nothing"}


def test_nothing_is_open_or_has_a_password(parsed: list[dict[str, Any]]) -> None:
    found = {
        (plain(of), plain(name)): body for file in parsed for block in file.get("resource", []) for of, named in block.items() for name, body in named.items()
    }
    assert len(found) > 20
    database = found["aws_db_instance", "this"]
    assert (database["publicly_accessible"], database["storage_encrypted"], database["manage_master_user_password"]) == (False, True, True)
    assert "password" not in database
    assert set(found["aws_s3_bucket_public_access_block", "this"].values()) >= {True}
    assert not re.search(r'(?i)(password|secret_key|access_key)\s*=\s*"', TEXT)
    # the only way to everywhere is out
    rules = [body for (kind, _), body in found.items() if kind == "aws_vpc_security_group_ingress_rule"]
    assert rules
    assert [rule for rule in rules if "cidr_ipv4" in rule] == []
