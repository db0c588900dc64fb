"""The evidence of a release: card, bill of material, verdicts and approvals, with the run, on the site, and named in the registry."""

import json
import re
import socket
from collections.abc import Iterator
from time import perf_counter
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from flightdeck import deployments, evidence, ledger, registry, site
from flightdeck.parameters import parameters
from flightdeck.settings import settings
from flightdeck.warehouse import query
from ml import card, environment, gate, pipeline, tracking
from ml.features import FEATURES
from serving import deploy
from tests.ml.conftest import Months

KEYS = ["1986-01", "1986-02"]


@pytest.fixture(scope="module")
def trained(published_months: Months) -> Iterator[dict[str, Any]]:
    """A release that was trained, and judged as the first."""
    with published_months(KEYS, 4400), pytest.MonkeyPatch.context() as patch:
        ledger.Attempt("decide", KEYS[1], 1, facts={"retrain": True, "reasons": ["first"]}).record("done")
        pipeline.train(KEYS[1])
        patch.setattr(deployments, "champion", lambda *_: None)
        gate.gate(KEYS[1])
        found = ledger.last("train", KEYS[1])
        assert found is not None
        yield found["outputs"]["release"]


def kept(release: dict[str, Any], name: str) -> str:
    return registry.artifact(f"{release['artifact'].split('/')[0]}/{release['run_id']}/artifacts/{evidence.FOLDER}/{name}").decode()


def page(release: dict[str, Any], name: str = "index.html") -> str:
    return (settings().reports / "models" / str(release["model_version"]) / name).read_text()


def names(release: dict[str, Any]) -> set[str]:
    return {entry.path.partition("/")[2] for entry in tracking.connect().list_artifacts(release["run_id"], evidence.FOLDER)}


def test_the_card_says_what_a_person_must_know(trained: dict[str, Any]) -> None:
    text, told = kept(trained, "card.md"), parameters()["card"]
    assert text == page(trained, "card.md")
    assert f"# {parameters()['model']['name']}, version {trained['model_version']}" in text
    for said in (told["owner"], told["intended_use"], *told["known_limits"], trained["sha256"], trained["snapshot_md5"], trained["run_id"], trained["code"]):
        assert said in text, said
    assert "2 partitions, 1986-01-01 to before 1986-03-01" in text
    assert re.search(rf"\| {KEYS[0]} \| \d+ \| 1986-03-03T", text)
    assert all(f"`{name}`" in text for name in FEATURES)
    assert f"{trained['metrics']['log_loss']:.4f}" in text
    assert f"| origin/JFK | {trained['metrics']['segments']['origin/JFK']['log_loss']:.4f}" in text
    tests = json.loads(registry.artifact(f"{trained['artifact'].split('/')[0]}/{trained['run_id']}/artifacts/tests.json"))
    assert len(tests) > 5
    assert all(f"| {each['test']} | {each['value']:.4f} | {each['limit']} | yes |" in text for each in tests)
    assert f"`flightdeck reproduce {trained['model_version']}`" in text


def test_the_page_has_card_and_verdict_and_the_site_lists_it(trained: dict[str, Any]) -> None:
    html, version = page(trained), trained["model_version"]
    assert "<h2>Limits of use</h2>" in html
    assert f"<td>{trained['sha256']}</td>" in html
    assert f"<h2>The gate's verdict on {KEYS[1]}: promoted</h2>" in html
    assert f'href="{version}/index.html">version {version}: promoted for {KEYS[1]}</a>' in (settings().reports / "models/index.html").read_text()
    assert 'href="models/index.html"' in (settings().reports / "index.html").read_text()


def test_what_stands_in_the_page_is_text(trained: dict[str, Any]) -> None:
    folder = settings().reports / site.MODELS / str(trained["model_version"])
    facts = json.loads((folder / "gate-1.json").read_text()) | {"reasons": ["<script>alert(1)</script>"]}
    before = (folder / "gate-1.json").read_text()
    (folder / "gate-1.json").write_text(json.dumps(facts))
    html = evidence._page(trained["model_version"], folder, trained)
    (folder / "gate-1.json").write_text(before)
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)" in html


def test_the_verdict_is_kept_with_its_reasons_and_both_sides(trained: dict[str, Any]) -> None:
    verdict = ledger.last("gate", KEYS[1])
    assert verdict is not None
    found = json.loads(kept(trained, "gate-1.json"))
    assert (found["decision"], found["reasons"], found["partition_key"]) == ("promoted", ["first"], KEYS[1])
    assert found["challenger"] == {"model_version": trained["model_version"], **trained["metrics"]}
    assert found["champion"] is None


def test_a_later_training_s_verdict_stands_beside_the_first(trained: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """As when an experiment is promoted: the same file of the same partition is the same version."""
    attempt = ledger.begin("train", KEYS[1])
    attempt.outputs["release"] = trained
    attempt.record("done")
    monkeypatch.setattr(deployments, "champion", lambda *_: {"release": trained, "model_version": trained["model_version"]})
    gate.gate(KEYS[1])
    found = json.loads(kept(trained, "gate-2.json"))
    assert (found["decision"], found["train"]) == ("refused", 2)
    assert found["champion"] == found["challenger"] == {"model_version": trained["model_version"], **trained["metrics"]}
    assert json.loads(kept(trained, "gate-1.json"))["decision"] == "promoted"
    html = page(trained)
    assert html.index("verdict on 1986-02: promoted") < html.index("verdict on 1986-02: refused")
    assert "version {0}</th><th>champion, version {0}</th>".format(trained["model_version"]) in html.replace("\n", "")
    assert f"version {trained['model_version']}: refused for {KEYS[1]}" in (settings().reports / "models/index.html").read_text()


def test_done_again_it_is_the_same(trained: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = settings().reports / site.MODELS / str(trained["model_version"])
    before, files = {path.name: path.read_bytes() for path in folder.iterdir()}, names(trained)
    described = (registry.version(trained["model_version"]) or {})["description"]
    card.publish(trained)
    monkeypatch.setattr(deployments, "champion", lambda *_: {"release": trained, "model_version": trained["model_version"]})
    # as after a kill between the evidence and the ledger's row
    gate.gate.__wrapped__(ledger.begin("gate", KEYS[1]))  # type: ignore[attr-defined]
    assert names(trained) == files
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert (registry.version(trained["model_version"]) or {})["description"] == described


def test_the_version_s_description_links_to_it(trained: dict[str, Any]) -> None:
    described = (registry.version(trained["model_version"]) or {})["description"]
    assert f"{settings().public_url('reports')}/models/{trained['model_version']}/" in described
    assert f"/runs/{trained['run_id']}/artifacts/evidence" in described
    assert f"flightdeck reproduce {trained['model_version']}" in described


def test_the_bill_of_material_is_valid_whole_and_the_same_again(trained: dict[str, Any]) -> None:
    text = kept(trained, environment.BILL)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    content = json.loads(text)
    parts = {part["name"]: part["version"] for part in content["components"]}
    named = environment.versions()
    assert {name: parts[name] for name in environment.NAMED} == {name: named[name] for name in environment.NAMED}
    assert parts["CPython"] == named["python"]
    assert len(parts) > 300
    needs = {each["ref"]: each.get("dependsOn", []) for each in content["dependencies"]}
    assert f"pkg:pypi/numpy@{named['numpy']}" in needs[f"pkg:pypi/lightgbm@{named['lightgbm']}"]
    for path in (settings().home / "sbom").iterdir():
        path.unlink()
    assert environment.bill() == text
    begun = perf_counter()
    assert environment.bill() == text
    # what is installed is listed, and not looked into
    assert perf_counter() - begun < 0.2


def test_a_broken_bill_of_material_is_found_by_the_schema(trained: dict[str, Any]) -> None:
    content = json.loads(kept(trained, environment.BILL))
    del content["components"][0]["name"]
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(content)) is not None


def test_a_person_s_word_is_kept(trained: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    verdict, training = ledger.last("gate", KEYS[1]), ledger.last("train", KEYS[1])
    assert verdict is not None
    assert training is not None
    facts = {"decision": "promoted", "reasons": ["better"], "approval": True}
    asked = ledger.Attempt("gate", KEYS[1], verdict["attempt"] + 10, facts=facts)
    asked.record("done")
    ledger.Attempt("approve", KEYS[1], 1, facts={"gate": asked.number, "approved": False, "by": "ann"}).record("done")
    monkeypatch.setattr(deploy, "await_workers", lambda *_: None)
    deploy.deploy(KEYS[1])
    assert json.loads(kept(trained, f"approval-{training['attempt']}.json")) == {"approved": False, "by": "ann", "partition_key": KEYS[1]}
    assert "rejected by ann" in page(trained)


def test_without_mlflow_the_stage_fails_and_its_retry_keeps_the_evidence(trained: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    attempt = ledger.begin("train", KEYS[1])
    attempt.outputs["release"] = trained
    attempt.record("done")
    name = f"gate-{attempt.number}.json"
    monkeypatch.setattr(deployments, "champion", lambda *_: None)
    scores = trained["metrics"]
    monkeypatch.setattr(gate, "_scores", lambda *_: [scores])
    with socket.socket() as closed, monkeypatch.context() as patch:
        closed.bind(("127.0.0.1", 0))
        nowhere = settings().model_copy(update={"port_mlflow": closed.getsockname()[1]})
        patch.setattr(registry, "settings", lambda: nowhere)
        with pytest.raises(registry.RegistryError, match="PUT"):
            gate.gate(KEYS[1])
    [failed] = query("select state, facts from ops.ledger where stage = 'gate' and partition_key = %s order by id desc limit 1", KEYS[1])
    assert failed["state"] == "failed"
    assert "PUT" in failed["facts"]["error"]
    assert name not in names(trained)
    gate.gate(KEYS[1])
    assert json.loads(kept(trained, name))["decision"] == "promoted"


def test_a_card_of_a_model_that_was_taken_in_says_so(trained: dict[str, Any]) -> None:
    text = card.text(trained, parameters(), [], "release.json")
    assert "| taken in from | release.json |" in text
    assert "Passed where it was trained (release.json)." in text
    assert "Where it was trained." in text
    failed = card.text(trained | {"failures": ["latency: 9"]}, parameters(), [], "release.json")
    assert "- not passed: latency: 9" in failed
