"""Training as a Kubeflow pipeline: `python ml/adapters/on_kubeflow.py run --key PARTITION` here, `… compile FILE` for a cluster.

A step is a process, or a pod of the image IMAGE, which holds this repository and what it needs; files travel as the pipeline's artifacts.
"""

import argparse
import os

from kfp import compiler, dsl, local

IMAGE = os.environ.get("IMAGE", "flightdeck")
# the body of a step is run as it is written here: what it imports, it imports itself
component = dsl.component(base_image=IMAGE, install_kfp_package=False)


@component
def snapshot(key: str, data: dsl.Output[dsl.Dataset]):
    from ml.adapters import steps
    from ml.snapshot import snapshot

    files = steps.begin(key)
    work = [lambda folder, one=one: snapshot(folder, one) for one in steps.partitions(files)]
    steps.write(files | steps.made(files, *work), data.path)


@component
def train(data: dsl.Input[dsl.Dataset], model: dsl.Output[dsl.Model]):
    from ml.adapters import steps
    from ml.train import train

    steps.write(steps.made(steps.read(data.path), train), model.path)


@component
def evaluate(data: dsl.Input[dsl.Dataset], model: dsl.Input[dsl.Model], found: dsl.Output[dsl.Artifact], metrics: dsl.Output[dsl.Metrics]):
    import json

    from ml.adapters import steps
    from ml.evaluate import evaluate

    files = steps.made(steps.read(data.path, model.path), evaluate)
    steps.write(files, found.path)
    for name, value in json.loads(files["metrics.json"]).items():
        if isinstance(value, float):
            metrics.log_metric(name, value)


@component
def test(data: dsl.Input[dsl.Dataset], model: dsl.Input[dsl.Model], found: dsl.Output[dsl.Artifact]):
    from ml.adapters import steps
    from ml.model_tests import test

    steps.write(steps.made(steps.read(data.path, model.path), test), found.path)


@component
def register(
    key: str, attempt: str, data: dsl.Input[dsl.Dataset], model: dsl.Input[dsl.Model], found: dsl.Input[dsl.Artifact], tested: dsl.Input[dsl.Artifact]
) -> int:
    from ml.adapters import steps

    files = steps.read(data.path, model.path, found.path, tested.path)
    return steps.end(files, key, attempt, {"trained_by": "Kubeflow Pipelines"})["model_version"]


@dsl.pipeline(name="train", description="A challenger from all partitions published up to one, registered.")
def training(key: str, attempt: str = "by-hand") -> int:
    data = snapshot(key=key).output
    model = train(data=data).output
    found, tested = evaluate(data=data, model=model), test(data=data, model=model)
    return register(key=key, attempt=attempt, data=data, model=model, found=found.outputs["found"], tested=tested.output).output


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    run.add_argument("--key", required=True)
    run.add_argument("--attempt", default="by-hand")
    commands.add_parser("compile").add_argument("file")
    asked = parser.parse_args()
    if asked.command == "compile":
        compiler.Compiler().compile(training, asked.file)
    else:
        local.init(local.SubprocessRunner(use_venv=False))
        training(key=asked.key, attempt=asked.attempt)


if __name__ == "__main__":
    main()
