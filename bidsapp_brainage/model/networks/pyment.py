"""The SFCN of Leonardsen et al. 2022 (pyment), which is not quite that of Peng et al."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn

_KERAS_EPS = 1e-3  # Keras adds this to the variance where PyTorch adds 1e-5


class PymentSFCN(nn.Module):
    """SFCN that pools after the ReLU and ends in a dense layer.

    Leonardsen et al. 2022 (NeuroImage 256:119210), published as Keras weights; modules are
    registered in the order of the Keras layers, as
    :func:`bidsapp_brainage.model.weights.keras.keras_state` needs it. The last layer has no
    activation here: what its numbers mean is the card's ``output``.

    Parameters
    ----------
    n_outputs : int
        1 for the regression, 93 for the soft classification, 91 for the ranking network.
    channels : sequence of int
        Output channels of the blocks; the last is the 1x1x1 block.
    """

    def __init__(
        self, n_outputs: int = 1, channels: Sequence[int] = (32, 64, 128, 256, 256, 64)
    ) -> None:
        super().__init__()
        if len(channels) < 2 or min(channels) < 1 or n_outputs < 1:
            raise ValueError("n_outputs and channels must be positive, channels two or more")
        blocks: OrderedDict[str, nn.Module] = OrderedDict()
        before = 1
        for index, after in enumerate(channels[:-1]):
            blocks[f"block-{index}"] = nn.Sequential(
                OrderedDict(
                    conv=nn.Conv3d(before, after, kernel_size=3, padding=1),
                    norm=nn.BatchNorm3d(after, eps=_KERAS_EPS),
                    relu=nn.ReLU(inplace=True),
                    pool=nn.MaxPool3d(2, stride=2),
                )
            )
            before = after
        blocks["top"] = nn.Sequential(
            OrderedDict(
                conv=nn.Conv3d(before, channels[-1], kernel_size=1),
                norm=nn.BatchNorm3d(channels[-1], eps=_KERAS_EPS),
                relu=nn.ReLU(inplace=True),
                pool=nn.AdaptiveAvgPool3d(1),
            )
        )
        self.blocks = nn.Sequential(blocks)
        self.predictions = nn.Linear(channels[-1], n_outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Numbers (N, n_outputs) of volumes (N, 1, D, H, W)."""
        return self.predictions(self.blocks(x).flatten(1))
