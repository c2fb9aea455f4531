"""The commands that say what there is: doctor and list."""

import json
from typing import Any

import click

from autossl.errors import UserError

LISTS = ("methods", "backbones", "spaces", "modalities", "targets", "weights")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def doctor(as_json: bool) -> None:
    """Check this machine: versions, devices, disk."""
    from autossl.cli.doctor import check_machine

    rows = check_machine()
    if as_json:
        click.echo(json.dumps([{"name": name, "found": found, "fine": fine} for name, found, fine in rows], indent=1))
    else:
        for name, found, fine in rows:
            click.echo(f"{'ok ' if fine else 'BAD'}  {name:18} {found}")
    if not all(fine for _, _, fine in rows):
        raise UserError("every row above marked ok was wanted, found BAD ones; mend them and run autossl doctor again")


@click.command("list")
@click.argument("what", type=click.Choice(LISTS))
@click.argument("pattern", default="")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_(what: str, pattern: str, as_json: bool) -> None:
    """List what there is to choose from; with PATTERN the names that hold it (with wildcards: that it matches)."""
    from autossl.cli.listing import table

    rows, more = _rows(what, pattern, as_json)
    if not rows:
        raise UserError(f"a name among {what} was wanted, found none that matches {pattern!r}; see autossl list {what}")
    click.echo(json.dumps(rows, indent=1) if as_json else table(rows))
    if more:
        click.echo(more)


def _rows(what: str, pattern: str, every: bool) -> tuple[list[dict[str, Any]], str]:
    """Rows of a list, and what to say of others."""
    from autossl.cli.listing import TABLES, matching

    if what in TABLES:
        return matching(TABLES[what](), pattern), ""
    from autossl.cli import networks  # and with it timm

    return (matching(networks.backbones(), pattern), "") if every else networks.found_backbones(pattern)
