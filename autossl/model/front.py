"""The header of a model card that model hubs read: library, kind of model, and what the test gave."""

from collections.abc import Mapping
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from autossl.errors.printable import markdown
from autossl.model.entrants import measures

FEATURES = "image-feature-extraction"  # what hubs call an encoder without a readout


def front(library: str, kind: str, name: str, facts: Mapping[str, Any], tested: str) -> list[str]:
    """Lines of YAML between dashes; `kind` is a task of the hub, `tested` the entrant of the test that this model is.

    The licence is the owner's to add: it follows from the data and from given weights.
    """
    test, data = facts.get("test") or {}, markdown(facts.get("data", {}).get("name", "AutoSSL"))
    found = test.get("entrants", {}).get(tested, {})
    results = [
        EvalResult(kind, "private", data, metric.name, found[metric.name], metric_name=metric.words)
        for metric in measures(test)
        if metric.name in found
    ]
    told = ModelCardData(
        library_name=library,
        pipeline_tag=kind,
        tags=["medical-imaging", "self-supervised"],
        model_name=name if results else None,
        eval_results=results or None,
    )
    return ["---", *told.to_yaml().strip().splitlines(), "---", ""]
