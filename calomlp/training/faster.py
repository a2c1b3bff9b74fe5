"""Ways to make the steps of large networks faster: half the digits, and a compiled network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from calomlp.errors import MissingDependencyError
from calomlp.model.network import MLP

Forward = Callable[[Tensor, torch.Generator | None], Tensor]
"""Returns what a network says of inputs, shape [members, events, outputs], in single precision."""


def forward_of(network: MLP, device: torch.device, *, precision: str, compiled: bool) -> Forward:
    """Return how a training computes the outputs of a network.

    Args:
        network: The network, whose own numbers are single in any case.
        device: Where it is.
        precision: With ``bfloat16``, matrix products take numbers of 8 significant bits and add them up in single
            precision, as of Kalamkar et al. (arXiv:1905.12322); validation, anchor and loss are single always.
        compiled: Whether PyTorch makes code for this network and batch; on a GPU, it records the step as a CUDA graph.
    """
    call = _compiled(network, device) if compiled else network
    half = precision == "bfloat16"

    def forward(inputs: Tensor, generator: torch.Generator | None) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            output: Tensor = call(inputs, generator)
        return output.float()

    return forward


def _compiled(network: MLP, device: torch.device) -> Callable[..., Any]:
    mode = "reduce-overhead" if device.type == "cuda" else "default"
    compiled = torch.compile(network, dynamic=False, mode=mode)

    def call(*arguments: Any) -> Any:
        try:
            return compiled(*arguments)
        except (torch._dynamo.exc.TorchDynamoException, ImportError) as error:  # noqa: SLF001 - nowhere else
            reason = str(error).strip().splitlines()[0][:200]
            raise MissingDependencyError(f"--compile does not work here; a C++ compiler is needed: {reason}") from error

    return call
