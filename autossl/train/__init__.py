"""Training: the loop, its batches and checkpoints, the shortcut monitor."""
