"""The commands that tell of studies: status, leaderboard, compare and report."""

import json
from pathlib import Path
from typing import Any

import click

from autossl.errors.keywords import path_of
from autossl.errors.printable import one_line
from autossl.record.folder import check_output


def say(sentence: str, err: bool = False) -> None:
    """Print a line in which names may come from files."""
    click.echo(one_line(sentence), err=err)


def closing(root: Path, as_json: bool = False) -> None:
    """The last lines of a search: its answer, and where things are."""
    from autossl.record.folder import existing
    from autossl.report.facts import read
    from autossl.report.summary import summary

    found = read(existing(root))
    told = summary(found)
    if as_json:
        click.echo(json.dumps(told))
        return
    if found.result:
        say(told["answer"]["first"])
        for sentence in told["answer"]["remarks"]:
            say(sentence)
    say(f"encoder: {root}/encoder   report: {root}/report.html")


@click.command()
@click.argument("run", type=click.Path())
@click.option("--watch", is_flag=True, help="Repeat every two seconds.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def status(run: str, watch: bool, as_json: bool) -> None:
    """Say where the study RUN stands; works while it runs."""
    import time

    from autossl.record.folder import existing
    from autossl.report.facts import read

    while True:
        found = read(existing(run)).status()
        if as_json:
            click.echo(json.dumps(found))
        else:
            _tell(found)
        if not watch or found["finished"]:
            return
        time.sleep(2)


def _tell(found: dict[str, Any]) -> None:
    from autossl.record.clock import in_words

    limit = "no limit" if found["seconds_limit"] is None else in_words(found["seconds_limit"])
    leader = "none yet"
    if lead := found["best"]:
        score = f"{lead['score']:.3f} ± {lead['se']:.3f} at rung {lead['rung']}"
        leader = f"candidate {lead['candidate']} ({lead['method']}), {score}"
    segments = ", ".join(f"{count} {state}" for state, count in found["segments"].items() if count)
    say(f"{found['study']}: {found['stage']}; {in_words(found['seconds_used'])} of {limit} used")
    say(f"{found['candidates']} candidates; segments: {segments or 'none yet'}; leader: {leader}")
    for sentence in found["shortcuts"]:
        say(sentence)


@click.command()
@click.argument("run", type=click.Path())
@click.option("--csv", "form", flag_value="csv", help="As CSV.")
@click.option("--json", "form", flag_value="json", help="As JSON.")
def leaderboard(run: str, form: str | None) -> None:
    """Show the candidates of RUN, best first; works while it runs."""
    from rich.console import Console

    from autossl.record.folder import existing
    from autossl.report.facts import read
    from autossl.report.leaderboard import as_csv, as_table

    found = read(existing(run))
    if form == "csv":
        click.echo(as_csv(found.rows), nl=False)
    elif form == "json":
        click.echo(json.dumps(found.rows, indent=1))
    else:
        Console().print(as_table(found.rows, note=found.caution, scored=found.target.scored))


@click.command()
@click.argument("runs", type=click.Path(), nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("-o", "--output", type=click.Path(), help="An .html file to write instead.")
def compare(runs: tuple[str, ...], as_json: bool, output: str | None) -> None:
    """Set studies side by side: answers, what was tested, plans, data and their flaws, winners, settings."""
    from rich.console import Console

    from autossl.report.compared import as_table, compared, doubts, write_page

    place = None if output is None else Path(path_of(output, "--output"))
    if place is not None:
        check_output(place, "--output", ".html", ".htm")
    found = compared(runs)
    if as_json:
        click.echo(json.dumps(found, indent=1))
    elif place is not None:
        say(str(write_page(found, place)))
    else:
        Console().print(as_table(found))
        for sentence in doubts(found):
            say(sentence)


@click.command()
@click.argument("run", type=click.Path())
@click.option("-o", "--output", type=click.Path(), help="Where to write.  [default: RUN/report.html]")
@click.option("--no-images", is_flag=True, help="Leave out every picture with pixels of your images.")
def report(run: str, output: str | None, no_images: bool) -> None:
    """Write the report of RUN, one self-contained HTML file."""
    from autossl.study import Study

    say(str(Study(run).report(output, no_images=no_images)))
