"""ECGNet: the published weights of a network of seven convolutions come without a program, so it is built here."""

from pathlib import Path
from typing import Any

import numpy as np

from neuro.errors import BadInput

LAYERS = (
    (1, 8, 16, 2, 7, 8, 4), (8, 12, 12, 2, 5, 4, 2), (12, 32, 9, 1, 4, 5, 2), (32, 64, 7, 1, 3, 4, 2),
    (64, 64, 5, 1, 2, 2, 2), (64, 64, 3, 1, 1, 2, 2), (64, 72, 3, 1, 1, 2, 2),
)  # fmt: skip
"""Channels in and out, kernel, stride and padding of each convolution, kernel and stride of the max-pool behind it."""
SHAPE = (1, 3600)


def module(weights: Path) -> Any:
    """The network as a PyTorch module in evaluation mode, one lead of 3,600 samples to 17 classes.

    weights: its state dict as .npz, arrays alone, by the names of the module's parameters; nothing is unpickled.

    Raises:
        BadInput: no such file, or other arrays than those of the network. ImportError: there is no PyTorch.
    """
    from torch import nn, tensor  # pyright: ignore[reportMissingImports]

    features: list[Any] = []
    for channels, out, kernel, stride, pad, window, step in LAYERS:
        features += [nn.Conv1d(channels, out, kernel, stride, pad), nn.ReLU(), nn.MaxPool1d(window, step)]
    classifier = nn.Sequential(nn.Linear(216, 64), nn.ReLU(), nn.Dropout(), nn.Linear(64, 17))
    made = nn.Sequential()
    for name, part in (("features", nn.Sequential(*features)), ("flat", nn.Flatten()), ("classifier", classifier)):
        made.add_module(name, part)
    try:
        with np.load(weights, allow_pickle=False) as file:
            made.load_state_dict({key: tensor(file[key]) for key in file})
    except (OSError, ValueError, RuntimeError, TypeError) as error:
        raise BadInput(f"{weights}: no weights of ECGNet: {error}") from None
    return made.eval()


def exported(weights: Path, folder: Path) -> Path:
    """The network as a .pt2 file in `folder`, such as a user would write. Raises as `module`."""
    import torch  # pyright: ignore[reportMissingImports]

    path = folder / "ecgnet.pt2"
    torch.export.save(torch.export.export(module(weights), (torch.zeros(1, *SHAPE),)), path)
    return path
