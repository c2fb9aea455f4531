"""What an encoder offers to methods that need more of it than an embedding."""

from autossl.nn.encoder import Encoder
from autossl.nn.sparse import is_convolutional
from autossl.nn.tokens import has_tokens
from autossl.pretext.dense import MIN_CELLS, map_sides

# what a method may need of an encoder
OF_ENCODERS = frozenset({"patch tokens", "dense map", "convolutions", "mean pooling"})


def lacking(encoder: Encoder) -> frozenset[str]:
    """Which of the needs "patch tokens", "dense map", "convolutions" and "mean pooling" this encoder does not meet.

    Without mean pooling (a class token, a wider head) a method that trains maps alone leaves untrained what is scored.
    Methods with such needs are for images; what a network for volumes offers is not asked.
    """
    if encoder.dims == 3:
        return frozenset()
    offered = {
        "patch tokens": has_tokens(encoder),
        "dense map": max(map_sides(encoder)) >= MIN_CELLS,
        "convolutions": is_convolutional(encoder),
        "mean pooling": encoder.mean_pooled,
    }
    return frozenset(need for need, met in offered.items() if not met)
