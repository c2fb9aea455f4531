"""The end of a study: training on, baselines, the arms, the choice, the one test."""
