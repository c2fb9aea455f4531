"""HTML from templates: what names hold is text there, and acts neither on a browser nor on a terminal."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import jinja2

CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # they act on a terminal that shows a page's source


def rendered(template: str, facts: Mapping[str, Any], **filters: Callable[..., Any]) -> str:
    """The template of this name with these facts."""
    page = jinja2.Environment(
        loader=jinja2.PackageLoader("autossl.report"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    page.filters.update(filters)
    return CONTROLS.sub("", page.get_template(template).render(facts))
