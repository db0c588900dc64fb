"""What a trace and an impact look like to a person: trees, with links into the UIs."""

import json
from typing import Any

from rich.markup import escape
from rich.tree import Tree

SHORT = 12


def trace(found: dict[str, Any]) -> Tree:
    prediction, features = found["prediction"], found["features"]
    top = Tree(f"[bold]prediction[/] {prediction['prediction_id']}  {prediction['probability']:.4f}  {escape(prediction['entity_id'])}")
    asked = f"asked at {prediction['requested_at']:%Y-%m-%d %H:%M:%S%z}, logged at {prediction['logged_at']:%Y-%m-%d %H:%M:%S%z}"
    top.add(f"{prediction['purpose']} of {prediction['partition_key']}, {asked}, history as of {prediction['history_key'] or 'nothing'}")
    _features(top, features)
    if not found["release"]:
        top.add(f"[red]version {prediction['model_version']} was never deployed[/]")
        return top
    moves = found["release"]["moves"]
    release = top.add(f"[bold]release[/] version {prediction['model_version']}, model sha256 {found['release']['sha256'][:SHORT]}")
    for move in moves:
        share = f" {move['share']:.0%}" if move["state"] == "canary" else ""
        release.add(f"{move['at']:%Y-%m-%d %H:%M:%S} {move['state']}{share}: {escape('; '.join(move['reasons']))}")
    _model(release, found["model"])
    _snapshot(release, found["snapshot"])
    sources = top.add(f"[bold]source rows[/] {len(found['sources']) or 'none yet: it has not happened, or is not published'}")
    for each in found["sources"]:
        by = each["brought_by"]
        how = f"load {each['load_id']}, {by['stage']} of {by['partition_key']}, attempt {by['attempt']}" if by else "built from earlier partitions"
        sources.add(f"{each['table']} {escape(_pairs(each['key']))}  [dim]{how}[/]")
    return top


def _features(top: Tree, features: dict[str, Any]) -> None:
    told = f"{len(features['logged'])} features"
    if features["built"] is None:
        top.add(f"[bold]{told}[/], as they were asked; nothing is built of this entity (yet)")
    elif features["different"]:
        branch = top.add(f"[bold]{told}[/], of which {len(features['different'])} are not what was built since")
        for name in features["different"]:
            branch.add(f"{name}: asked with {features['logged'][name]}, built {features['built'][name]}")
    else:
        top.add(f"[bold]{told}[/], each equal to what was built since")


def _model(release: Tree, model: dict[str, Any]) -> None:
    branch = release.add(
        f"[bold]model[/] {model['name']} version {model['model_version']}, {model['learner']}, code {model['code']}  {model['links']['version']}"
    )
    branch.add(f"MLflow run {model['run_id']}  {model['links']['run']}")
    if trained := model["trained"]:
        branch.add(f"train of {trained['partition_key']}, attempt {trained['attempt']}, {trained['at']:%Y-%m-%d %H:%M:%S}")
    if gate := model["gate"]:
        branch.add(f"gate: {gate['decision']}: {escape('; '.join(gate['reasons'] or []))}")
    if approved := model["approve"]:
        branch.add(f"approval: {'given' if approved['approved'] else 'refused'} by {escape(str(approved['by']))}")


def _snapshot(release: Tree, snapshot: dict[str, Any]) -> None:
    branch = release.add(f"[bold]snapshot[/] {snapshot['md5']} (DVC), {len(snapshot['partitions'])} partitions")
    for each in snapshot["partitions"]:
        build = each["build"]
        tests = f"{build['dbt']['tests']} tests, {_failed(build['checks'])}"
        invocation = f", dbt invocation {build['dbt']['invocation']}" if build["dbt"]["invocation"] else ""
        node = branch.add(f"{each['key']}, file {each['md5']}: transform, attempt {build['attempt']}, code {build['code']}{invocation}; {tests}")
        if ingest := each.get("ingest"):
            loads = ", ".join(f"{source} {load}" for source, load in ingest["loads"].items())
            node.add(f"ingest, attempt {ingest['attempt']}, as of {ingest['as_of']}; {_failed(ingest['checks'])}; loads: {escape(loads)}")
    for key in snapshot["missing"]:
        branch.add(f"[red]{key}: the ledger does not say how it was built[/]")


def _failed(checks: dict[str, Any]) -> str:
    failed = [f"{name} ({rows})" for check in checks.values() for name, rows in check["failed"].items()]
    return f"{sum(check['expectations'] for check in checks.values())} expectations" + (f", failed: {', '.join(failed)}" if failed else ", all held")


def _pairs(key: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in key.items())


def impact(found: dict[str, Any]) -> Tree:
    name = ".".join(filter(None, [found["dataset"], found["column"]])) + (f" of {found['partition']}" if found["partition"] else "")
    top = Tree(f"[bold]{name}[/]")
    if held := found["quarantined"]:
        state = "is kept out of all this" if held["state"] == "held" else f"is {held['state']}"
        top.add(f"row {held['id']} in quarantine ({escape(held['expectation'])}) {state}: {escape(json.dumps(held['row'])[:200])}")
    predictions, reached = found["predictions"], found["columns"] or found["datasets"]
    for title, values in (
        ("columns" if found["column"] else "data sets", reached),
        ("features", found["features"]),
        ("published partitions", found["partitions"]),
        ("snapshots", [f"{each['md5']} (train of {each['partition']})" for each in found["snapshots"]]),
        ("models", [f"version {each['model_version']}, run {each['run_id'][:SHORT]}" for each in found["models"]]),
        ("releases", [f"version {each['model_version']} since {each['since']:%Y-%m-%d %H:%M:%S}: {', '.join(each['states'])}" for each in found["releases"]]),
        (
            "consumers",
            [f"{each['name']} ({each['kind']}, {each['owner']})" + (f", told by {each['told']}" if each["told"] else "") for each in found["consumers"]],
        ),
    ):
        branch = top.add(f"[bold]{title}[/] {len(values)}")
        for value in values:
            branch.add(escape(value))
    branch = top.add(f"[bold]predictions[/] {predictions['in_all']:,} of {predictions['of']:,}")
    for version, number in predictions["by_version"].items():
        branch.add(f"{number:,} by version {version}")
    if predictions["looked_up"]:
        branch.add(f"{predictions['looked_up']:,} looked up what is made of it")
    return top
