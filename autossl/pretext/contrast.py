"""What contrastive methods share: InfoNCE, whom an image must not be pushed away from, and a queue of embeddings."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SPLIT = 8  # smallest batch whose keys are encoded in two parts


def info_nce(
    query: Tensor, positive: Tensor, others: Tensor, temperature: float, excluded: Tensor | None = None
) -> Tensor:
    """InfoNCE (van den Oord et al. 2018) of queries (b, d): their positives (b, d) against others (n, d), by cosine.

    `excluded` (b, n) is True where an other is no negative of a query.
    """
    query, positive, others = (F.normalize(z.float(), dim=1) for z in (query, positive, others))
    against = query @ others.T
    if excluded is not None:
        against = against.masked_fill(excluded, -torch.inf)
    logits = torch.cat([(query * positive).sum(1, keepdim=True), against], 1) / temperature
    return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))


def kin(images: int, groups: Tensor | None, owners: Tensor | None = None, *, like: Tensor) -> Tensor:
    """(b, b + n), True where a column is the row's own image or shows its patient; on the device of `like`.

    Columns are the batch's images, then n remembered ones, whose patients are `owners` (n,). Without `groups` (b,)
    patients are unknown, and only the image itself is kin.
    """
    own = torch.eye(images, dtype=torch.bool, device=like.device)
    remembered = images if owners is None else images + len(owners)
    own = F.pad(own, (0, remembered - images))
    if groups is None:
        return own
    columns = groups if owners is None else torch.cat([groups, owners])
    return own | (groups[:, None] == columns)


def chance(excluded: Tensor) -> float:
    """The InfoNCE of guessing among the positive and what is not excluded (b, n): a mean logarithm."""
    return float((1 + (~excluded).sum(1)).log().mean())


def halves(n: int, generator: torch.Generator, device: torch.device) -> tuple[Tensor, tuple[Tensor, ...]]:
    """A random order of n items and its two halves (one part where there are few), on the device."""
    order = torch.randperm(n, generator=generator, device=generator.device).to(device)
    return order, order.chunk(2 if n >= SPLIT else 1)


class Queue(nn.Module):
    """The newest embeddings (at most `size`, of `dim` numbers) and their patients: a ring that forgets the oldest.

    It never holds more than half of the `population`, so that hardly any image meets its own past; its entries are
    buffers and survive a checkpoint. Patients that are unknown are -1.
    """

    embeddings: Tensor
    patients: Tensor
    pushed: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("embeddings", torch.zeros(size, dim))
        self.register_buffer("patients", torch.full((size,), -1))
        self.register_buffer("pushed", torch.zeros((), dtype=torch.long))

    def capacity(self, population: int | None) -> int:
        """How many embeddings it may hold."""
        size = len(self.embeddings)
        return size if population is None else min(size, population // 2)

    def entries(self, population: int | None) -> tuple[Tensor, Tensor]:
        """The embeddings (n, dim) and patients (n,) that it holds, in no particular order; copies."""
        filled = min(int(self.pushed), self.capacity(population))
        return self.embeddings[:filled].clone(), self.patients[:filled].clone()

    @torch.no_grad()
    def push(self, z: Tensor, groups: Tensor | None, population: int | None) -> None:
        """Take in embeddings (b, dim) of unit length and their patients (b,); the oldest entries make room."""
        room = self.capacity(population)
        kept = min(len(z), room)
        if kept == 0:
            return
        place = (self.pushed + torch.arange(kept, device=z.device)) % room
        self.embeddings[place] = F.normalize(z.float(), dim=1)[-kept:]
        self.patients[place] = -1 if groups is None else groups[-kept:]
        self.pushed += kept
