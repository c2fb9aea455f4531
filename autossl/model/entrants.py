"""Who is tested in a study, and by which metrics: names as results hold them, and as people read them."""

METRICS = {"balanced_accuracy": "balanced accuracy", "macro_auroc": "macro AUROC"}
NAMES = {  # as a sentence has them
    "winner": "the winner",
    "winner, fine-tuned": "the winner, fine-tuned",
    "untrained": "the untrained encoder",
    "weights": "the given weights",
    "supervised": "training on the same labels alone",
    "supervised, frozen": "the encoder trained on the same labels (frozen)",
}
TUNED = "winner, fine-tuned"
BASELINES = ("supervised", "supervised, frozen", "weights", "untrained")
