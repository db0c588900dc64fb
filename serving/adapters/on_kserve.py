"""A release in KServe's Python server: `python -m serving.adapters.on_kserve --folder FOLDER`, with the repository on the Python path."""

import argparse
from pathlib import Path

from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer, model_server
from kserve.errors import InvalidInput
from kserve.utils.utils import generate_uuid

from serving.adapters.loaded import INPUT, OUTPUT, InvalidRows, answer, load


class ReleaseModel(Model):
    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name)
        self.folder = folder

    def load(self) -> bool:
        self.release = load(self.folder)
        self.ready = True
        return True

    def predict(self, payload, headers=None, response_headers=None):
        try:
            if not isinstance(payload, InferRequest):
                raise InvalidRows("expected the Open Inference Protocol, version 2")
            rows = next((each.as_numpy() for each in payload.inputs if each.name == INPUT), None)
            found = answer(self.release, rows)
        except (InvalidRows, ValueError, TypeError) as error:
            raise InvalidInput(str(error)) from error
        output = InferOutput(OUTPUT, list(found.shape), "FP64")
        output.set_data_from_numpy(found, binary_data=False)
        asked = {"use_binary_outputs": payload.use_binary_outputs, "requested_outputs": payload.request_outputs}
        # its answer needs an id, its requests do not
        return InferResponse(payload.id or generate_uuid(), self.name, [output], model_version=str(self.release.version), **asked)


def main() -> None:
    parser = argparse.ArgumentParser(parents=[model_server.parser])
    parser.add_argument("--folder", type=Path, required=True)
    asked, _ = parser.parse_known_args()
    model = ReleaseModel(asked.model_name, asked.folder)
    model.load()
    ModelServer().start([model])


if __name__ == "__main__":
    main()
