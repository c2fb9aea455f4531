"""The report as Markdown, for notes, repositories and issues: the answer, the test, the data, the leaderboard."""

from typing import Any

import jinja2
from markupsafe import Markup

from autossl.errors.printable import markdown, one_line


def in_markdown(facts: dict[str, Any], template: str = "report.md.j2", **filters: Any) -> str:
    """A template of Markdown filled with the facts of the page; every text in them is shown letter by letter."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("autossl.report"), finalize=_shown, autoescape=True, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    made.filters.update(plain=lambda text: Markup(one_line(text)), **filters)
    return made.get_template(template).render(facts)


def _shown(value: Any) -> Any:
    """A text as Markdown writes it; what a macro made is that already."""
    return Markup(markdown(value)) if type(value) is str else value
