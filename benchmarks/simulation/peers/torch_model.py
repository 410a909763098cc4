"""The transformer as an ordinary PyTorch module, and a client's training as an ordinary loop."""

import math

import torch
from torch import nn
from torch.nn import functional

from benchmarks.simulation.peers.workload import Workload

ROWS = "embedding.weight"
"""Name of the rows in the module's state."""


class Attention(nn.Module):
    """Causal self-attention with layer norm before it."""

    def __init__(self, width: int, inner: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * inner)
        self.out = nn.Linear(inner, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """From and to (sentences, T, width)."""
        sentences, length, _ = x.shape
        qkv = self.qkv(self.norm(x)).view(sentences, length, 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        result: torch.Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return result


class FeedForward(nn.Module):
    """Two linear layers with layer norm before them."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.inner = nn.Linear(width, inner)
        self.out = nn.Linear(inner, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """From and to (sentences, T, width)."""
        result: torch.Tensor = self.out(functional.relu(self.inner(self.norm(x))))
        return result


class Block(nn.Module):
    """One of the transformer's blocks."""

    def __init__(self, width: int, attention: int, heads: int, ffn: int) -> None:
        super().__init__()
        self.attention = Attention(width, attention, heads)
        self.ffn = FeedForward(width, ffn)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """From and to (sentences, T, width)."""
        x = x + self.attention(x)
        result: torch.Tensor = x + self.ffn(x)
        return result


class NextWordModel(nn.Module):
    """Causal transformer whose input and output layer share their rows.

    Args:
        workload: tells the sizes and the weights.

    """

    positions: torch.Tensor

    def __init__(self, workload: Workload) -> None:
        super().__init__()
        size, width = workload.rows.shape
        attention = workload.body["blocks.0.attention.out.weight"].shape[1]
        ffn = workload.body["blocks.0.ffn.out.weight"].shape[1]
        self.embedding = nn.Embedding(size, width)
        self.blocks = nn.ModuleList(
            Block(width, attention, workload.heads, ffn) for _ in range(workload.blocks)
        )
        self.norm = nn.LayerNorm(width)
        # No parameter, so it is not saved, sent or averaged either.
        self.register_buffer("positions", _sinusoids(workload.inputs.shape[2], width), persistent=False)
        self.load_state_dict(initial_state(workload))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Logits (sentences, T, n) of the next words."""
        x = self.embedding(inputs) * math.sqrt(self.embedding.embedding_dim) + self.positions
        for block in self.blocks:
            x = block(x)
        return functional.linear(self.norm(x), self.embedding.weight)

    def loss(self, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy over all positions."""
        return functional.cross_entropy(self(inputs).flatten(0, 1), targets.flatten())


def initial_state(workload: Workload) -> dict[str, torch.Tensor]:
    """The workload's parameters under the module's names."""
    # ``in`` is a keyword, so no attribute of a module.
    named = {name.replace(".in.", ".inner."): value for name, value in workload.body.items()}
    return {ROWS: torch.from_numpy(workload.rows)} | {n: torch.from_numpy(v) for n, v in named.items()}


def client_tensors(workload: Workload) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Inputs and targets (sentences, T) int64 of each client."""
    inputs, targets = torch.from_numpy(workload.inputs).long(), torch.from_numpy(workload.targets).long()
    return list(zip(inputs, targets, strict=True))


def train_client(
    model: NextWordModel,
    optimizer: torch.optim.Optimizer,
    client: tuple[torch.Tensor, torch.Tensor],
    batch_size: int,
) -> list[float]:
    """One epoch, the sentences in order; returns the loss of each step."""
    losses = []
    for inputs, targets in zip(*(part.split(batch_size) for part in client), strict=True):
        optimizer.zero_grad()
        loss = model.loss(inputs, targets)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def _sinusoids(length: int, width: int) -> torch.Tensor:
    """Sine and cosine positions (length, width)."""
    half = (width + 1) // 2
    frequency = torch.exp(-math.log(10000.0) / half * torch.arange(half))
    angle = torch.arange(length)[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=1)[:, :width]
