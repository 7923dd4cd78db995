"""ONNX networks as PyTorch modules, through onnxruntime (the extra ``onnx``)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.fx
from torch import nn

from bidsapp_brainage.errors import MissingExecutableError, ResourceError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_TYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
}


class OnnxNetwork(nn.Module):
    """A network in an ONNX file; runs on the CPU, whatever device its neighbours are on.

    Where the channel lies is read from the file: (N, 1, D, H, W), (N, D, H, W, 1) or
    (N, D, H, W). Whole-number inputs are rounded and bounded.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    MissingExecutableError
        onnxruntime is not installed.
    ResourceError
        The file is no ONNX network with one volume as input and one vector as output.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = Path(path)
        self._session: InferenceSession | None = None
        self._threads = 0
        session = self._runtime()
        inputs = session.get_inputs()
        if len(inputs) != 1 or inputs[0].type not in _TYPES or len(inputs[0].shape) not in (4, 5):
            raise ResourceError(
                f"{path}: the network needs one input (N, 1, D, H, W), (N, D, H, W, 1) or "
                f"(N, D, H, W) of numbers, not {[(part.shape, part.type) for part in inputs]}."
            )
        self._input = inputs[0].name
        self._output = session.get_outputs()[0].name
        self._dtype: np.dtype = np.dtype(_TYPES[inputs[0].type])
        self._shape = list(inputs[0].shape)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Numbers (N, n_outputs) of volumes (N, 1, D, H, W)."""
        if isinstance(x, torch.fx.Proxy):  # the incremental engine asks what it computes
            raise TypeError("ONNX networks run outside of PyTorch")
        volumes = self._arranged(x.detach().cpu().numpy())
        return torch.from_numpy(np.array(self._run(volumes))).to(x.device).flatten(1)

    def __getstate__(self) -> dict[str, object]:
        """Leave the session behind: copies make their own."""
        return {**self.__dict__, "_session": None}

    def _run(self, volumes: np.ndarray) -> np.ndarray:
        fixed = isinstance(self._shape[0], int)
        size = self._shape[0] if fixed else len(volumes)
        if len(volumes) % size:
            raise ResourceError(f"{self.path}: the network takes {size} volumes at a time.")
        parts = [
            self._runtime().run([self._output], {self._input: volumes[start : start + size]})[0]
            for start in range(0, len(volumes), size)
        ]
        return np.concatenate(parts)

    def _arranged(self, volumes: np.ndarray) -> np.ndarray:
        if self._dtype == np.uint8:
            volumes = np.clip(np.round(volumes), 0, 255)
        if len(self._shape) == 4:
            volumes = volumes[:, 0]
        elif self._shape[-1] == 1 and self._shape[1] != 1:
            volumes = np.moveaxis(volumes, 1, -1)
        return np.ascontiguousarray(volumes, dtype=self._dtype)

    def _runtime(self) -> InferenceSession:
        """The session, with as many threads as PyTorch has now."""
        threads = torch.get_num_threads()
        if self._session is None or threads != self._threads:
            self._session, self._threads = _open(self.path, threads), threads
        return self._session


def _open(path: Path, threads: int) -> InferenceSession:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExecutableError(
            f"{path} is an ONNX network, and onnxruntime is not installed: "
            "pip install 'bidsapp-brainage[onnx]'."
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(
            str(path), sess_options=options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime raises classes of its C++ side
        raise ResourceError(f"{path} cannot be read as an ONNX network: {error}") from error
