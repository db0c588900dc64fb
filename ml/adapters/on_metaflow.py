"""Training as a Metaflow flow: `python ml/adapters/on_metaflow.py run --key PARTITION`, with the repository on the Python path.

A snapshot step a partition, side by side; then train; evaluation and model tests side by side; the end registers, and its card shows the metrics.
"""

from metaflow import FlowSpec, Parameter, card, current, step
from metaflow.cards import Markdown, Table

from ml.adapters import steps


class TrainingFlow(FlowSpec):
    key = Parameter("key", help="train on all partitions published up to this one", required=True)
    attempt = Parameter("attempt", help="the ledger's attempt that asks for it", default="by-hand")

    @step
    def start(self):
        self.files = steps.begin(self.key)
        self.partitions = steps.partitions(self.files)
        self.next(self.snapshot, foreach="partitions")

    @step
    def snapshot(self):
        from ml.snapshot import snapshot

        self.files |= steps.made(self.files, lambda folder: snapshot(folder, self.input))
        self.next(self.join)

    @step
    def join(self, inputs):
        self.files = {path: content for each in inputs for path, content in each.files.items()}
        self.next(self.train)

    @step
    def train(self):
        from ml.train import train

        self.files |= steps.made(self.files, train)
        self.next(self.evaluate, self.test)

    @step
    def evaluate(self):
        from ml.evaluate import evaluate

        self.files |= steps.made(self.files, evaluate)
        self.next(self.register)

    @step
    def test(self):
        from ml.model_tests import test

        self.files |= steps.made(self.files, test)
        self.next(self.register)

    @card(type="blank")
    @step
    def register(self, inputs):
        files = inputs.evaluate.files | inputs.test.files
        self.release = steps.end(files, self.key, self.attempt, {"trained_by": "Metaflow", "metaflow": f"{current.flow_name}/{current.run_id}"})
        current.card.append(Markdown(f"# Version {self.release['model_version']}, trained up to {self.key}"))
        current.card.append(Table([[name, str(value)] for name, value in self.release["metrics"].items() if name != "segments"], headers=["metric", "value"]))
        current.card.append(Markdown("Model tests: " + ("; ".join(self.release["failures"]) or "passed")))
        self.next(self.end)

    @step
    def end(self):
        """The release is this run's artifact, too."""


if __name__ == "__main__":
    TrainingFlow()
