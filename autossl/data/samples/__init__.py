"""Synthetic data sets that come with AutoSSL."""
