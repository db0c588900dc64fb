"""A release in MLServer: `mlserver start FOLDER`, of a folder that folder.py has written, with the repository on the Python path."""

from pathlib import Path

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.errors import InferenceError
from mlserver.types import InferenceRequest, InferenceResponse
from mlserver.utils import get_model_uri

from serving.adapters.loaded import INPUT, OUTPUT, InvalidRows, answer, load


class ReleaseModel(MLModel):
    async def load(self) -> bool:
        self.release = load(Path(await get_model_uri(self.settings)))
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        try:
            rows = next((NumpyCodec.decode_input(each) for each in payload.inputs if each.name == INPUT), None)
            found = answer(self.release, rows)
        except (InvalidRows, ValueError, TypeError) as error:
            raise InferenceError(str(error)) from error
        return InferenceResponse(
            id=payload.id, model_name=self.name, model_version=str(self.release.version), outputs=[_flat(NumpyCodec.encode_output(OUTPUT, found))]
        )


def _flat(output):
    """Of shape [n], as the service answers; the codec makes it [n, 1]."""
    return output.model_copy(update={"shape": output.shape[:1]})
