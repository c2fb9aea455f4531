"""The end of a study: training on, baselines, adaptation, the choice, the one test."""
