"""Several models that answer together: the mean of their answers, in the terms of their target."""

from collections.abc import Sequence

from torch import nn

from autossl.data import Source
from autossl.model.model import Floats, Model, Stored


class Ensemble(Model):
    """Models of one study and one task, each with a readout; all but answers is that of the first."""

    def __init__(self, members: Sequence[Model]) -> None:
        first = members[0]
        super().__init__(first.encoder, first.preprocessing, first.readout, first.meaning)
        self.members = nn.ModuleList(members)

    def answers_stored(self, images: Stored, batch: int = 512) -> Floats:
        """Raw answers (n, ...) for images that have the study's size and scale already: the mean over the models."""
        return self.target.mean([member.answers_stored(images, batch) for member in self.models])

    def slid(self, source: Source, row: int) -> Floats:
        """The answer to an image of a source, at its own size, window by window: the mean over the models."""
        return self.target.mean([member.slid(source, row) for member in self.models])

    @property
    def models(self) -> list[Model]:
        """The members."""
        return [member for member in self.members if isinstance(member, Model)]
