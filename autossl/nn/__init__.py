"""Networks: encoders, heads, tokens, sparse convolutions, weights."""
