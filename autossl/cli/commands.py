"""The command line; its words are the keywords of the Python call."""

# Everything heavy is imported inside the commands: torch takes seconds, and `autossl --help` must answer at once.

import json
from pathlib import Path
from typing import Any

import click

from autossl.cli.answers import embed, neighbours, predict
from autossl.cli.exits import Edge
from autossl.cli.options import OF_RUNNING, search_options
from autossl.errors import UserError
from autossl.errors.keywords import path_of
from autossl.errors.printable import one_line
from autossl.record.folder import check_output


@click.group(cls=Edge, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="autossl-imaging", prog_name="autossl")
def main() -> None:
    """Find the self-supervised pretext task whose encoder serves your images and your target best."""


main.add_command(embed)
main.add_command(predict)
main.add_command(neighbours)


@main.command()
@click.argument("data")
@search_options
@click.option("--quiet", is_flag=True, help="Write to autossl.log only.")
def search(data: str, quiet: bool, unlabeled: str | None, labels: str | None, **options: Any) -> None:
    """Search, train, test and export the best encoder for DATA.

    DATA is a .npz in MedMNIST layout, a folder of class folders, a CSV manifest (image, label, patient, slice, split),
    sample:cells, sample:volumes or medmnist:NAME; files are images or volumes (NIfTI). The same command again goes on
    with the study.
    """
    from autossl.record.clock import process_started
    from autossl.run import controller
    from autossl.run.asked import Asked

    asked = Asked(**options)
    folder = controller.start(data, asked, unlabeled=unlabeled, labels=labels, started=process_started(), quiet=quiet)
    _closing(folder.root)


@main.command()
@click.argument("run", type=click.Path())
@click.option("--time-limit", help="+1h adds time to the study's limit, 2h replaces it.")
@click.option("--quiet", is_flag=True, help="Write to autossl.log only.")
def resume(run: str, time_limit: str | None, quiet: bool) -> None:
    """Go on with the study RUN after a kill or a crash; with --time-limit also with a finished or stopped one."""
    from autossl.record.clock import process_started
    from autossl.run import controller

    folder = controller.resume(run, time_limit, started=process_started(), quiet=quiet)
    _closing(folder.root)


def _say(sentence: str, err: bool = False) -> None:
    """Print a line in which names may come from files."""
    click.echo(one_line(sentence), err=err)


def _closing(root: Path) -> None:
    from autossl.report.page import headline
    from autossl.study import Study

    study = Study(root)
    if study.result:
        _say(headline(study.result))
        for sentence in study.remarks:
            _say(sentence)
    _say(f"encoder: {root}/encoder   report: {root}/report.html")


@main.command()
@click.argument("run", type=click.Path())
@click.option("--watch", is_flag=True, help="Repeat every two seconds.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def status(run: str, watch: bool, as_json: bool) -> None:
    """Say where the study RUN stands; works while it runs."""
    import time

    from autossl.record.clock import in_words
    from autossl.study import Study

    while True:
        found = Study(run).status()
        if as_json:
            click.echo(json.dumps(found))
        else:
            limit = "no limit" if found["seconds_limit"] is None else in_words(found["seconds_limit"])
            leader = "none yet"
            if lead := found["best"]:
                score = f"{lead['score']:.3f} ± {lead['se']:.3f} at rung {lead['rung']}"
                leader = f"candidate {lead['candidate']} ({lead['method']}), {score}"
            segments = ", ".join(f"{count} {state}" for state, count in found["segments"].items() if count)
            _say(f"{found['study']}: {found['stage']}; {in_words(found['seconds_used'])} of {limit} used")
            _say(f"{found['candidates']} candidates; segments: {segments or 'none yet'}; leader: {leader}")
            for sentence in found["shortcuts"]:
                _say(sentence)
        if not watch or found["finished"]:
            return
        time.sleep(2)


@main.command()
@click.argument("run", type=click.Path())
@click.option("--csv", "form", flag_value="csv", help="As CSV.")
@click.option("--json", "form", flag_value="json", help="As JSON.")
def leaderboard(run: str, form: str | None) -> None:
    """Show the candidates of RUN, best first; works while it runs."""
    from rich.console import Console

    from autossl.report.leaderboard import as_csv, as_table
    from autossl.study import Study

    study = Study(run)
    rows = study.leaderboard()
    if form == "csv":
        click.echo(as_csv(rows), nl=False)
    elif form == "json":
        click.echo(json.dumps(rows, indent=1))
    else:
        Console().print(as_table(rows, note=study.caution, scored=study.scored))


@main.command()
@click.argument("run", type=click.Path())
def stop(run: str) -> None:
    """End RUN early, whatever it is doing: the best encoder so far is tested and exported.

    What was not begun is left out (final training, fine-tuning, training on the labels alone); the report says so. The
    study is then finished: autossl resume RUN --time-limit +1h extends it, after its test.
    """
    from autossl.record.folder import existing, read_json

    folder = existing(run)
    if (read_json(folder.state) or {}).get("finished"):
        _say(f"{run} is finished, there is nothing to stop")
        return
    folder.stop.touch()
    _say(f"asked {run} to stop; it tests and exports the best encoder so far, which may take a minute")


@main.command()
@click.argument("run", type=click.Path())
@click.option("-o", "--output", type=click.Path(), help="Where to write.  [default: RUN/report.html]")
def report(run: str, output: str | None) -> None:
    """Write the report of RUN, one self-contained HTML file."""
    from autossl.study import Study

    _say(str(Study(run).report(output)))


@main.command()
@click.argument("run", type=click.Path())
@click.argument("path", type=click.Path())
@click.option("--candidate", default="best", show_default=True, help="best, model (with head) or supervised.")
def export(run: str, path: str, candidate: str) -> None:
    """Copy an encoder of RUN to PATH, in the form that timm and autossl.load read."""
    from autossl.study import Study

    _say(str(Study(run).export(path, candidate)))


@main.command()
@click.argument("run", type=click.Path())
@click.option("--port", default="8080", show_default=True, help="Port on this machine.")
@click.option("--read-write", is_flag=True, help="Let visitors change and delete.")
def dashboard(run: str, port: str, read_write: bool) -> None:
    """Open Optuna's dashboard on RUN, on 127.0.0.1 only; works while it runs."""
    from autossl.record.folder import existing
    from autossl.report.dashboard import serve

    serve(existing(run), port=port, read_only=not read_write)


@main.command()
@click.argument("run", type=click.Path())
@click.option("--candidate", help="Number in the leaderboard.  [default: the best]")
@click.option("--time-limit", default="1h", show_default=True, help="How long to train on.")
@click.option("-o", "--output", required=True, type=click.Path(), help="Folder for the encoder.")
def train(run: str, candidate: str | None, time_limit: str, output: str) -> None:
    """Train one candidate of RUN on, with a falling learning rate, and export its encoder."""
    from autossl.run.jobs import train_on

    _say(str(train_on(run, candidate, time_limit, output)))


@main.command()
@click.argument("run", type=click.Path())
@click.option("--data", help="Labelled images in any supported form.  [default: the study's test part, counted]")
@click.option("--labels", help="CSV with image and label columns.")
@click.option("--label-column", help="Column of a CSV that holds the label.")
@click.option("--patient-column", help="Column of a CSV that holds the patient id.")
def evaluate(
    run: str, data: str | None, labels: str | None, label_column: str | None, patient_column: str | None
) -> None:
    """Score the adapted model of RUN on labelled images; each use of the test part is counted in the study."""
    from autossl.run.jobs import evaluate as score

    found = score(run, data, labels, label_column, patient_column)
    if "warning" in found:
        _say(f"warning: {found['warning']}", err=True)
    click.echo(json.dumps(found, indent=1))


@main.command()
@click.argument("data")
@click.option("--views", is_flag=True, help="Draw a few images and views of them by strength.")
@click.option(
    "--out", default="views.png", show_default=True, type=click.Path(), help="With --views: the PNG to write."
)
def inspect(data: str, views: bool, out: str, unlabeled: str | None, labels: str | None, **options: Any) -> None:
    """Say what DATA holds and whether a search on it would start, by the very checks of search.

    Every image is decoded once, as a search does, and nothing of it is kept. Ends with exit code 2 where a search
    would not start.
    """
    from autossl.cli.inspection import inspected, line, progress
    from autossl.run import begin
    from autossl.run.asked import Asked
    from autossl.run.settings import check

    asked = Asked(**options)
    check(asked)
    data = path_of(data, "the data")
    if views:
        check_output(Path(out), "--out", ".png")
    source = begin.opened(data, asked, unlabeled, labels)
    if views:
        from autossl.cli.view_sheet import write_sheet

        write_sheet(source, asked.modality, Path(out))
        _say(f"{'views':15} {out}")
    try:
        for name, found in inspected(source, asked, data, unlabeled, labels, progress):
            click.echo(line(name, one_line(found)))
    except UserError as fault:
        _say(f"a search would not start: because {fault}")
        click.get_current_context().exit(fault.exit_code)
    click.echo("a search would start: yes")


inspect.params[1:1] = [option for option in search.params if option.name not in {"data", "quiet", *OF_RUNNING}]


@main.command()
def doctor() -> None:
    """Check this machine: versions, devices, disk."""
    from autossl.cli.doctor import check_machine

    rows = check_machine()
    for name, found, fine in rows:
        click.echo(f"{'ok ' if fine else 'BAD'}  {name:18} {found}")
    if not all(fine for _, _, fine in rows):
        raise UserError("every row above marked ok was wanted, found BAD ones; mend them and run autossl doctor again")


@main.command("list")
@click.argument("what", type=click.Choice(["methods", "backbones", "spaces", "modalities", "targets", "weights"]))
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_(what: str, as_json: bool) -> None:
    """List what there is to choose from."""
    from autossl.cli.doctor import listing, table

    rows = listing(what)
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    click.echo(table(rows))
