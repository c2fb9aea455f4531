"""The commands that ask a trained network: embed and predict."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import click

from autossl.errors.keywords import path_of
from autossl.errors.machine import check_folder
from autossl.errors.printable import one_line
from autossl.record.folder import check_output, replace_file

TABLES = {"masks": "masks.csv", "pairs": "restored.csv"}  # beside what is drawn


@click.command()
@click.argument("encoder", type=click.Path())
@click.argument("data")
@click.option("-o", "--output", required=True, type=click.Path(), help="A .npy file for the embeddings (n, d).")
def embed(encoder: str, data: str, output: str) -> None:
    """Write embeddings of DATA by ENCODER, a study or an exported encoder."""
    import numpy as np

    from autossl.model.load import load

    if not Path(path_of(output, "--output")).is_dir():  # which is refused below
        output = output if output.endswith(".npy") else f"{output}.npy"  # as np.save names it
    check_output(Path(output), "--output")
    z = load(encoder).embed(data)
    replace_file(Path(output), lambda file: np.save(file, z))
    click.echo(one_line(f"{len(z)} embeddings of width {z.shape[1]} in {output}"))


@click.command()
@click.argument("model", type=click.Path())
@click.argument("data")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(),
    help="A .csv file, one row per image or box (boxes also as COCO's .json); for masks and images a folder.",
)
def predict(model: str, data: str, output: str) -> None:
    """Write what MODEL, a finished study or an exported model, says of DATA.

    A model that segments writes masks of the size of the images into a new folder, one that restores writes the images,
    with a table beside them; one that finds objects writes boxes in pixels of the images, a row each, or where the
    output is a .json all in the form of COCO.
    """
    from autossl.model.load import load
    from autossl.record.folder import Folder

    place = Path(path_of(output, "--output"))
    inside = Folder(Path(path_of(model, "the folder of a model"))).model
    loaded = load(inside if inside.is_dir() else model)
    if place.suffix.lower() == ".json":
        check_output(place, "--output", ".json")
        whole = json.dumps(loaded.coco(data), allow_nan=False).encode()
        replace_file(place, lambda file: file.write(whole))
        click.echo(one_line(f"boxes in {output}"))
        return
    if loaded.draws and place.suffix.lower() != ".csv":
        check_folder(place, "--output")
        table, place, said = loaded.write_answers(data, place), place / TABLES[loaded.target.figure], output
    else:
        check_output(place, "--output", ".csv")
        table, said = loaded.predict(data), output
    _write(table, place)
    click.echo(one_line(f"{len(table['image'])} {loaded.target.rows} in {said}"))


@click.command()
@click.argument("model", type=click.Path())
@click.argument("gallery")
@click.argument("queries")
@click.option("-k", default=10, show_default=True, type=click.IntRange(1), help="Neighbours of each query.")
@click.option("-o", "--output", required=True, type=click.Path(), help="A .csv file, one row per neighbour.")
def neighbours(model: str, gallery: str, queries: str, k: int, output: str) -> None:
    """Write which images of GALLERY are most like each of QUERIES, by MODEL: a study, an exported model or encoder."""
    from autossl.model.load import load
    from autossl.record.folder import Folder

    check_output(place := Path(path_of(output, "--output")), "--output", ".csv")
    inside = Folder(Path(path_of(model, "the folder of a model"))).model
    table = load(inside if inside.is_dir() else model).neighbours(gallery, queries, k)
    _write(table, place)
    click.echo(one_line(f"neighbours of {len(set(table['image']))} images in {output}"))


def _write(table: dict[str, list[Any]], place: Path) -> None:
    """A table as CSV."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(map(one_line, table))
    writer.writerows(
        [one_line(cell) if isinstance(cell, str) else cell for cell in row] for row in zip(*table.values(), strict=True)
    )
    replace_file(place, lambda file: file.write(text.getvalue().encode()))
