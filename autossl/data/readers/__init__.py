"""Readers: one file per form of data, and what they share."""
