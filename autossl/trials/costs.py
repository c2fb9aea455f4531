"""What the parts of a study cost on this machine, in seconds."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Costs:
    """Seconds that things take, as one worker sees them while all workers run; defaults: 28 px on two CPU cores."""

    per_image: Mapping[str, float] = field(default_factory=dict)  # training by method; passes * per_pass until measured
    per_pass: float = 1e-3  # forward and backward pass of the encoder, one image
    score: float = 2.5  # embedding, proxies and checkpoint of one segment
    embed: float = 3.3e-4  # one image
    evaluate: float = 3.0  # head and intervals of one encoder
    probe: float = 2.0  # head of one encoder at one sight
    sight: float = 0.5  # the same on as many labels as sights are compared on
    export: float = 1.0
    report: float = 5.0
    supervised: float = 1.2e-3  # one image of supervised training
    tuned: float = 1.2e-3  # one image where candidates are fine-tuned
    given: float = 1.2e-3  # the same of given weights
    embed_given: float = 0.0  # one image by given weights as they are, and as they are fine-tuned
    embed_tuned: float = 0.0

    def image(self, method: str) -> float:
        """Seconds per training image of a method; 2.5 passes where nothing is known."""
        return self.per_image.get(method, 2.5 * self.per_pass)

    def segment(self, method: str, images: int) -> float:
        """Seconds of one segment: training on so many images, scoring and the checkpoint."""
        return self.image(method) * images + self.score

    def encoder(self, images: int) -> float:
        """Seconds to embed so many images with one encoder, and to fit and evaluate its head."""
        return self.embed * images + self.evaluate

    def slower(self, times: float) -> "Costs":
        """The same on a machine that takes so many times as long."""
        numbers = (
            "per_pass", "score", "embed", "evaluate", "probe", "sight", "export", "report", "supervised", "tuned",
            "given", "embed_given", "embed_tuned",
        )  # fmt: skip
        per_image = {name: times * seconds for name, seconds in self.per_image.items()}
        return replace(self, per_image=per_image, **{name: times * getattr(self, name) for name in numbers})
