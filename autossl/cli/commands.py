"""The command line; its words are the keywords of the Python call."""

# Everything heavy is imported inside the commands: torch takes seconds, and `autossl --help` must answer at once.

import json
from pathlib import Path
from typing import Any

import click

from autossl.cli.answers import embed, neighbours, predict
from autossl.cli.exits import Edge
from autossl.cli.offers import doctor, list_
from autossl.cli.options import OF_RUNNING, search_options
from autossl.cli.told import closing, compare, leaderboard, report, say, status
from autossl.errors import UserError
from autossl.errors.keywords import path_of
from autossl.errors.printable import one_line
from autossl.record.folder import check_output


@click.group(cls=Edge, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="autossl-imaging", prog_name="autossl")
def main() -> None:
    """Find the self-supervised pretext task whose encoder serves your images and your target best."""


for command in (embed, predict, neighbours, status, leaderboard, compare, report, doctor, list_):
    main.add_command(command)


@main.command()
@click.argument("data")
@search_options
@click.option("--quiet", is_flag=True, help="Write to autossl.log only.")
@click.option("--json", "as_json", is_flag=True, help="The answer as JSON at the end.")
def search(data: str, quiet: bool, as_json: bool, unlabeled: str | None, labels: str | None, **options: Any) -> None:
    """Search, train, test and export the best encoder for DATA.

    DATA is a .npz in MedMNIST layout, a folder of class folders, a CSV manifest (image, label, patient, slice, split),
    sample:cells, sample:volumes or medmnist:NAME; files are images or volumes (NIfTI). The same command again goes on
    with the study.
    """
    from autossl.errors.machine import machine_faults
    from autossl.record.clock import process_started
    from autossl.run.asked import Asked, check

    asked = Asked(**options)
    check(asked)
    from autossl.run.opening import ready  # and with it the readers of all forms of data

    with machine_faults():
        source = ready(data, asked, unlabeled, labels)
    from autossl.run import controller  # and with it torch, once nothing is left to refuse without it

    given: dict[str, Any] = {"unlabeled": unlabeled, "labels": labels, "source": source}
    folder = controller.start(data, asked, **given, started=process_started(), quiet=quiet)
    closing(folder.root, as_json)


@main.command()
@click.argument("run", type=click.Path())
@click.option("--time-limit", help="+1h adds time to the study's limit, 2h replaces it.")
@click.option("--quiet", is_flag=True, help="Write to autossl.log only.")
@click.option("--json", "as_json", is_flag=True, help="The answer as JSON at the end.")
def resume(run: str, time_limit: str | None, quiet: bool, as_json: bool) -> None:
    """Go on with the study RUN after a kill or a crash; with --time-limit also with a finished or stopped one."""
    from autossl.record.clock import process_started
    from autossl.record.folder import existing

    existing(run)
    from autossl.run import controller  # and with it torch

    folder = controller.resume(run, time_limit, started=process_started(), quiet=quiet)
    closing(folder.root, as_json)


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
        say(f"{run} is finished, there is nothing to stop")
        return
    folder.stop.touch()
    say(f"asked {run} to stop; it tests and exports the best encoder so far, which may take a minute")


@main.command()
@click.argument("run", type=click.Path())
@click.argument("path", type=click.Path())
@click.option("--candidate", default="best", show_default=True, help="best, model (with head) or supervised.")
def export(run: str, path: str, candidate: str) -> None:
    """Copy an encoder of RUN to PATH, in the form that timm and autossl.load read."""
    from autossl.study import Study

    say(str(Study(run).export(path, candidate)))


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

    say(str(train_on(run, candidate, time_limit, output)))


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
        say(f"warning: {found['warning']}", err=True)
    click.echo(json.dumps(found, indent=1))


@main.command()
@click.argument("data")
@click.option("--views", is_flag=True, help="Draw a few images and views of them by strength.")
@click.option(
    "--out", default="views.png", show_default=True, type=click.Path(), help="With --views: the PNG to write."
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def inspect(
    data: str, views: bool, out: str, as_json: bool, unlabeled: str | None, labels: str | None, **options: Any
) -> None:
    """Say what DATA holds and whether a search on it would start, by the very checks of search.

    Every image is decoded once, as a search does, and nothing of it is kept. Ends with exit code 2 where a search
    would not start.
    """
    from autossl.run.asked import Asked, check

    asked = Asked(**options)
    check(asked)
    data = path_of(data, "the data")
    if views:
        check_output(Path(out), "--out", ".png")
    from autossl.run.opening import opened

    source = opened(data, asked, unlabeled, labels)
    if views:
        from autossl.cli.view_sheet import write_sheet

        write_sheet(source, asked.modality, Path(out))
        say(f"{'views':15} {out}", err=as_json)
    from autossl.cli.inspection import inspected, line, progress  # and with it torch

    rows: list[dict[str, str]] = []
    refusal: UserError | None = None
    try:
        for name, found in inspected(source, asked, data, unlabeled, labels, progress):
            rows.append({"name": name, "found": one_line(found)})
            if not as_json:
                click.echo(line(name, one_line(found)))
    except UserError as fault:
        refusal = fault
    if as_json:
        told = {"rows": rows, "starts": refusal is None, "why": "" if refusal is None else str(refusal)}
        click.echo(json.dumps(told, indent=1))
    else:
        say("a search would start: yes" if refusal is None else f"a search would not start: because {refusal}")
    if refusal is not None:
        click.get_current_context().exit(refusal.exit_code)


inspect.params[1:1] = [
    option for option in search.params if option.name not in {"data", "quiet", "as_json", *OF_RUNNING}
]
