"""The script that MLflow copies into every registered model and runs to load it (models from code, no pickle).

It is never imported: MLflow runs the copy and takes the model that ``set_model`` names. The script has no numerics of
its own: the installed library scores. So these names must stay importable in every later version of the library, as
long as models that were registered with this script are used: `patchcore.bank.MemoryBank`,
`patchcore.images.rgb_of_bytes` and `patchcore.errors.Refused`.
"""

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext


class BankModel(PythonModel):
    """A memory bank that answers requests: encoded images in, decisions out."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the bank and check that it is the one that was registered.

        Raises:
            Refused: a digest of the bank is wrong.
        """
        from patchcore.bank import MemoryBank
        from patchcore.errors import Refused

        folder, config = Path(context.artifacts["bank"]), context.model_config or {}
        # Weights that are in no package: mlflow.pyfunc.load_model(uri, model_config={"weights": "…"}).
        weights = Path(config["weights"]) if config.get("weights") else None
        self._bank = MemoryBank.load(folder, weights=weights)
        if self._bank.sha256 != config["bank_sha256"]:
            raise Refused(
                f"the bank in {folder} is not the one that was registered",
                got=f"sha256 {self._bank.sha256}",
                expected=f"sha256 {config['bank_sha256']}",
                remedy="restore the artifacts of this model",
            )

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Score images.

        Args:
            context: Unused; MLflow passes it.
            model_input: A column ``image``: the bytes of one PNG or JPEG file a row (base64 over HTTP).
            params: Unused; MLflow passes it.

        Returns:
            A row for each image: ``score`` (float, higher is more anomalous), ``p_value`` (float in (0, 1], lower is
            more anomalous), ``anomalous`` (bool, score above the threshold), ``threshold`` (float).

        Raises:
            MlflowException: an image cannot be decoded (HTTP status 400).
        """
        from patchcore.errors import Refused
        from patchcore.images import rgb_of_bytes

        bank, contents = self._bank, [bytes(content) for content in model_input["image"]]
        side = bank.config.extractor.image_size
        try:
            images = [rgb_of_bytes(content, side, f"image {row}") for row, content in enumerate(contents)]
        except Refused as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error
        scores = bank.score(images).image
        return pd.DataFrame(
            {
                "score": scores.astype("float64"),
                "p_value": bank.p_values(scores),
                "anomalous": bank.anomalous(scores),
                "threshold": bank.threshold,
            }
        )


set_model(BankModel())
