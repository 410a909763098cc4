"""The physical limit: the matrix products of one step and nothing else."""

import time

import torch


def matrix_product_seconds(body: dict[str, torch.Tensor], rows: int, dimension: int, positions: int) -> float:
    """Seconds of every matrix product of a step's forward and backward pass, operands at hand.

    A linear map of (o, i) weights takes three products: forward, by the input, by the weights; so does the
    output layer of (rows, d). Attention's small products are left out, as is all that is not a product.

    Args:
        body: whose tensors with two dimensions are weights.
        rows: m, rows of the output layer.
        dimension: d.
        positions: p, predicted in the batch.

    """
    shapes = [tuple(value.shape) for value in body.values() if value.ndim == 2]
    operands = [_Operands(o, i, positions) for o, i in {*shapes, (rows, dimension)}]
    seconds = {(item.outputs, item.inputs): item.run() for item in operands}
    return sum(seconds[o, i] for o, i in [*shapes, (rows, dimension)])


class _Operands:
    def __init__(self, outputs: int, inputs: int, positions: int) -> None:
        self.outputs, self.inputs = outputs, inputs
        self._weights = torch.randn(outputs, inputs)
        self._input = torch.randn(positions, inputs)
        self._output = torch.randn(positions, outputs)

    def run(self) -> float:
        """Seconds of the three products into memory at hand, the second time."""
        output, by_input = torch.empty_like(self._output), torch.empty_like(self._input)
        by_weights = torch.empty_like(self._weights)
        start = 0.0
        for _ in range(2):
            start = time.perf_counter()
            torch.mm(self._input, self._weights.T, out=output)
            torch.mm(self._output, self._weights, out=by_input)
            torch.mm(self._output.T, self._input, out=by_weights)
        return time.perf_counter() - start
