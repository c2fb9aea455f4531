"""The final training of the winner, which is kept unless it is judged to have done harm."""

from collections.abc import Callable
from typing import Any

from autossl.finish.anneal import encoder_of, train_on
from autossl.finish.steps import Steps
from autossl.finish.written import read_again, write
from autossl.nn.encoder import Encoder
from autossl.record.entries import Entry

Judge = Callable[[Encoder, Encoder], dict[str, Any]]  # before and after -> facts, "kept" among them


def train_winner(steps: Steps, entry: Entry, known: dict[str, Any], judge: Judge) -> tuple[Encoder, dict[str, Any]]:
    """Train the winner on with a falling rate; `known` facts stand where there is no time to. Export what is kept.

    Returns the encoder and facts about the training, also those of an earlier run.
    """
    context, folder = steps.context, steps.context.folder.encoder
    done = context.state("final")
    if done is not None:
        return read_again(context, folder)[0], done
    encoder = encoder_of(context, entry, steps.late)
    write(context, encoder, folder, {"stage": "before the final training"})
    name = f"final-c{entry.candidate:04d}-r{entry.rung}"
    final: dict[str, Any] = {"kept": False, "why": "a stop was asked for" if steps.stopped else "no time", **known}
    if steps.checkpoint(name).is_file() or steps.left("final training") != 0:
        steps.say(f"training candidate {entry.candidate} ({entry.method}) on, with a falling learning rate")
        trained, facts = train_on(context, entry, steps.terms("final training", name))
        final = {**judge(encoder, trained), **facts}
        encoder = trained if final["kept"] else encoder
        write(context, encoder, folder, {"stage": "after the final training"})
    context.remember(final=final)
    steps.forget("final")
    return encoder, final
