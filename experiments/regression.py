"""How far predicted numbers are from the targets of a data set, in the units of the targets."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from experiments.datasets.dataset import DataSet
from neuro.errors import BadInput


@dataclass(frozen=True, eq=False)
class Errors:
    """Root mean square and mean absolute error of each output, share r2 of the targets' variance that is explained.

    r2 is NaN where all targets of an output are equal.
    """

    rmse: Float64[np.ndarray, "output"]
    mae: Float64[np.ndarray, "output"]
    r2: Float64[np.ndarray, "output"]
    unit: str

    def __repr__(self) -> str:
        rows = zip(self.rmse, self.mae, self.r2, strict=True)
        unit = f" {self.unit}" if self.unit else ""
        return "\n".join(f"RMSE {rmse:.4g}{unit}, MAE {mae:.4g}{unit}, R2 {r2:.4g}" for rmse, mae, r2 in rows)


def errors(predictions: np.ndarray, dataset: DataSet) -> Errors:
    """Errors of `predictions` [item, ...], as many numbers an item as there are targets.

    Raises:
        BadInput: the data set has no real targets, or predictions of another number.
    """
    targets = dataset.targets
    if targets is None:
        raise BadInput(f"{dataset.name}: has no real targets; save them as floating-point numbers 'y'.")
    if predictions.size != targets.size or len(predictions) != len(targets):
        raise BadInput(
            f"{dataset.name}: predictions of shape {predictions.shape} for targets of shape {targets.shape}; "
            "the network must give one number per target."
        )
    miss = predictions.reshape(targets.shape).astype(np.float64) - targets
    spread = targets.var(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        r2 = np.where(spread > 0, 1 - (miss**2).mean(axis=0) / spread, np.nan)
    return Errors(np.sqrt((miss**2).mean(axis=0)), np.abs(miss).mean(axis=0), r2, dataset.unit)
