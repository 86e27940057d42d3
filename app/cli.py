"""The command line: `image-retrieval …`, one function a verb."""

import asyncio
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import click
import msgspec
import psycopg
import psycopg_pool

from app.encoders_cli import encoders
from app.errors import AppError
from app.judgements_cli import judgements
from app.keys_cli import keys
from app.ranking_cli import duplicates, normalise
from app.running import run_async
from app.search_cli import search
from app.settings import Settings, describe
from db.errors import GalleryError
from embedding.errors import EmbeddingError
from training.errors import TrainingError
from training.recipe import PRESETS, RECIPE_FIELDS

EXPECTED = (
    AppError,
    GalleryError,
    EmbeddingError,
    TrainingError,
    psycopg.OperationalError,
    psycopg_pool.PoolTimeout,
)


class Commands(click.Group):
    """The verbs; an error that we know ends the program with its message instead of a traceback."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except EXPECTED as error:
            click.echo(f"error: {error}", err=True)
            context.exit(2)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(package_name="image-retrieval")
@click.option("-v", "--verbose", is_flag=True, help="Say what goes on inside.")
def main(verbose: bool) -> None:
    """Search a collection of pictures by words, by a picture, or by both, inside PostgreSQL.

    Settings come from the environment: `image-retrieval settings` lists them.
    """
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(levelname)s %(name)s: %(message)s"
    )


main.add_command(encoders)
main.add_command(judgements)
main.add_command(keys)
main.add_command(search)
main.add_command(normalise)
main.add_command(duplicates)


def recipe_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add an option for each field of a training recipe; None is "as the preset has it"."""
    for name, field in reversed(RECIPE_FIELDS.items()):
        meaning, dashed = field.metadata["meaning"], name.replace("_", "-")
        if field.type is bool:
            flag = click.option(f"--{dashed}/--no-{dashed}", default=None, help=meaning)
        else:
            choices = get_args(field.type)
            kind = click.Choice(choices) if choices else field.type
            flag = click.option(f"--{dashed}", type=kind, default=None, help=meaning)
        command = flag(command)
    return command


@main.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--captions", "captions_file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Captions in a Flickr8k form: image,caption or image.jpg#0<TAB>caption.")  # fmt: skip
@click.option("--collection", help="Name of the set.  [default: the folder's name]")
@click.option("--model", help="Encoder: a hub name or a checkpoint folder.  [default: the gallery's own]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object last.")
def index(
    path: Path, captions_file: Path | None, collection: str | None, model: str | None, as_json: bool
) -> None:
    """Index the pictures in a folder, and below it; run it again to add what is new.

    Pictures stay where they are. Broken ones are listed and cost the others nothing; the exit code is 1 if
    there were any. Stopped at any moment and run again, it goes on where it was.
    """
    from app.indexing import index_folder  # heavy: torch; verbs that need none start without it
    from app.progress import show_progress
    from app.service import open_encoder, open_pool
    from db.gallery import active_encoder
    from training.captions import load_flickr8k_captions

    settings = Settings.from_env().replace(model=model)
    captions = None if captions_file is None else load_flickr8k_captions(captions_file)

    async def run() -> Any:
        async with open_pool(settings) as pool:
            async with pool.connection() as connection:
                active = await active_encoder(connection)
            encoder = await asyncio.to_thread(open_encoder, settings, active)
            with show_progress() as progress:
                return await index_folder(
                    path, encoder=encoder, pool=pool, collection=collection, captions=captions,
                    max_pixels=settings.max_pixels, progress=progress,
                )  # fmt: skip

    report = run_async(run())
    if as_json:
        click.echo(msgspec.json.encode(report.as_json()))
    else:
        click.echo(report.summary())
    sys.exit(1 if report.failed else 0)


@main.command(context_settings={"show_default": False})
@click.option(
    "--images",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The photos' folder; shards and parquet files may hold the photos themselves.",
)
@click.option(
    "--captions",
    type=click.Path(path_type=Path),
    required=True,
    help="Captions: Flickr8k or Flickr30k text, COCO or Karpathy JSON, webdataset tars, parquet.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="The run's folder; named again after a kill, the run goes on.",
)
@click.option(
    "--model", help="Dual encoder to start from: hub name or folder.  [default: the gallery's default]"
)
@click.option("--vision-tower", help="Start from two towers instead: this image model…")
@click.option("--text-tower", help="…and this text model.")
@click.option(
    "--dimension", type=click.IntRange(2), default=512, help="Of two joined towers' space.  [default: 512]"
)
@click.option(
    "--preset",
    type=click.Choice([*PRESETS]),
    default="recommended",
    help="report: the university report's recipe.  [default: recommended]",
)
@click.option(
    "--train-list",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Names of the photos to learn from.  [default: all in no other list]",
)
@click.option(
    "--dev-list",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Names of the photos to score by.  [default: the file's own split, else some by chance]",
)
@recipe_options
def train(model: str | None, vision_tower: str | None, text_tower: str | None, **asked: Any) -> None:
    """Fine-tune an encoder on captions of one's own, and say what it gained.

    Every setting below that is left out is the preset's.
    """
    from app.tuning import TrainingRequest, run_training

    if (vision_tower is None) != (text_tower is None):
        raise click.UsageError("--vision-tower and --text-tower go together")
    if asked["train_list"] is not None and asked["dev_list"] is None:
        raise click.UsageError("--train-list needs --dev-list: which photos score is not for chance then")
    if model is not None and vision_tower is not None:
        raise click.UsageError("--model and the two towers exclude each other")
    recipe = {name: asked.pop(name) for name in RECIPE_FIELDS}
    request = TrainingRequest(
        model=model,
        vision_tower=vision_tower,
        text_tower=text_tower,
        asked={name: value for name, value in recipe.items() if value is not None},
        **asked,
    )
    try:
        # torchrun numbers its processes; the first one talks
        run_training(request, tells=os.environ.get("RANK", "0") == "0")
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except KeyboardInterrupt:
        click.echo("\nstopped; run the same command again to go on from there", err=True)
        sys.exit(130)


@main.command()
@click.option(
    "--captions",
    type=click.Path(path_type=Path),
    required=True,
    help="Captions of the photos: any form that `train` takes.",
)
@click.option(
    "--images",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The photos' folder; shards and parquet files may hold the photos themselves.",
)
@click.option(
    "--split", help="A file of photo names, one a line; or train, dev or test, if the captions say."
)
@click.option("--model", help="Encoder: a hub name or a checkpoint folder.")
@click.option("--compare", help="Another encoder: say in which figures the two differ beyond chance.")
@click.option(
    "--through",
    type=click.Choice(["encoder", "api"]),
    default="encoder",
    help="api: ask a running service, with its index, instead of the encoder alone.",
)
@click.option("--url", default="http://127.0.0.1:8000", help="Where the service is.")
@click.option("--collection", help="The photos' collection in the service.  [default: the folder's name]")
@click.option("--corruptions", is_flag=True, help="Also with dark, blurred, backlit, cropped, noisy photos.")
@click.option("--hybrid", is_flag=True, help="Also ask by words and a picture at once.")
@click.option("--long", "long_texts", is_flag=True, help="Also ask by all captions of a photo at once.")
@click.option("--image-to-image", is_flag=True, help="Also ask by pictures alone.")
@click.option("--all", "everything", is_flag=True, help="All four of these.")
@click.option(
    "--samples", type=click.IntRange(100, 1_000_000), default=10_000, help="Resamples behind each interval."
)
@click.option("--plots", type=click.Path(file_okay=False, path_type=Path), help="Write SVGs to this folder.")
@click.option("--strict", is_flag=True, help="Fail (exit code 1) if a single photo cannot be read.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object last.")  # fmt: skip
def evaluate(plots: Path | None, strict: bool, as_json: bool, **asked: Any) -> None:
    """Say how well an encoder finds photos by their captions, with 95 % intervals.

    Photos that cannot be read are listed and left out; the exit code is 1 if all were.
    """
    from app.evaluating import EvaluationRequest, run_evaluation
    from app.evaluation_report import evaluation_json, print_evaluation
    from app.progress import show_progress

    request = EvaluationRequest(**asked)
    with show_progress() as progress:
        evaluation = run_evaluation(request, Settings.from_env(), progress)
    if plots is not None:
        from app.evaluation_plots import write_plots  # matplotlib comes with the extra "training"

        write_plots(evaluation, plots)
    if as_json:
        click.echo(msgspec.json.encode(evaluation_json(evaluation)))
    else:
        print_evaluation(evaluation)
    failed = evaluation.ours.failed
    sys.exit(1 if failed and (strict or not evaluation.ours.photos) else 0)


@main.command()
@click.argument("start")
@click.argument("tuned")
@click.option(
    "--images", type=click.Path(exists=True, file_okay=False, path_type=Path), help="The photos' folder."
)
@click.option("--captions", type=click.Path(path_type=Path), required=True, help="As train takes them.")
@click.option(
    "--dev-list",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Names of the photos to score by.",
)
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="For the checkpoint."
)
@click.option("--allowed-loss", type=float, default=0.5, help="Points of dev recall that may be given up.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
def interpolate(start: str, tuned: str, as_json: bool, **asked: Any) -> None:
    """Go part of the way back from a TUNED checkpoint to its START, which forgets less (WiSE-FT).

    Eleven mixtures are scored on the dev photos, and by how far they still answer general questions as the
    start did; the one that forgets least among those within the allowed loss is saved.
    """
    from app.interpolating import run_interpolation

    say = (lambda _line: None) if as_json else click.echo
    found = run_interpolation(start, tuned, **asked, say=say)
    if as_json:
        click.echo(msgspec.json.encode(found))


@main.command()
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on.  [default: 8000]")
@click.option(
    "--workers", type=click.IntRange(1), help="Processes, each with an encoder of its own.  [default: 1]"
)
@click.option("--socket", "descriptor", type=int, hidden=True, help="Serve on this open socket, as a worker.")
def serve(host: str | None, port: int | None, workers: int | None, descriptor: int | None) -> None:
    """Serve the API and its page until Ctrl-C."""
    settings = Settings.from_env().replace(host=host, port=port, workers=workers)
    if settings.workers > 1 and descriptor is None:
        from app.workers import run_workers

        sys.exit(run_workers(settings))

    from app.server import run_server

    run_server(settings, descriptor)


@main.command()
def migrate() -> None:
    """Bring the database's schema to this program's revision."""
    from app.database import migrate as bring_to_newest
    from app.database import start_database

    click.echo(f"the schema is at revision {bring_to_newest(start_database(Settings.from_env()))}")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(as_json: bool) -> None:
    """Tell what is in the gallery, and where it is."""
    from app.status import read_status

    found = run_async(read_status(Settings.from_env()))
    click.echo(msgspec.json.encode(found) if as_json else found.text())


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(as_json: bool) -> None:
    """Look for what is wrong, and say how to mend it; the exit code is 1 if something is."""
    from app.doctor import examine

    findings = run_async(examine(Settings.from_env()))
    if as_json:
        click.echo(msgspec.json.encode(findings))
    else:
        for finding in findings:
            click.echo(finding.text())
    sys.exit(1 if any(finding.state == "problem" for finding in findings) else 0)


@main.command()
@click.option("--serve/--no-serve", "then_serve", default=True, help="Serve the demo's gallery afterwards.")
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on.  [default: 8000]")
def demo(then_serve: bool, host: str | None, port: int | None) -> None:
    """Draw a gallery, train a small encoder for it, index, ask three questions, and serve it.

    The demo has a folder and a database of its own; your gallery is not touched.
    """
    from app.demo import run_demo

    run_demo(Settings.from_env().replace(host=host, port=port), then_serve=then_serve)


@main.command("export")
@click.argument("collection")
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("--format", "form", type=click.Choice(["parquet", "webdataset"]), default="parquet")
def export_(collection: str, out: Path, form: Any) -> None:
    """Write COLLECTION into the folder OUT: pictures, captions, attributes, judgements, vectors.

    `train --captions` reads it, and so do other programs. The exit code is 1 if a picture's file is gone.
    """
    from app.exporting import export_collection
    from app.progress import show_progress
    from app.service import open_pool

    settings = Settings.from_env()

    async def run() -> Any:
        async with open_pool(settings) as pool:
            with show_progress() as progress:
                return await export_collection(
                    pool, collection, out, form, upload_dir=settings.data_dir / "uploads", progress=progress
                )

    report = run_async(run())
    click.echo(report.summary("exported"))
    sys.exit(1 if report.failed else 0)


@main.command("import")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--collection", required=True, help="A collection of uploads, made unless it is there.")
def import_(folder: Path, collection: str) -> None:
    """Take what `export` wrote into a collection; an empty gallery takes the encoder too.

    Vectors of the gallery's encoder are taken as they are; other pictures are encoded. Run it again after
    it was stopped: nothing comes twice. The exit code is 1 if a picture cannot be taken.
    """
    from app.exporting import import_collection
    from app.progress import show_progress
    from app.service import open_encoder, open_pool

    settings = Settings.from_env()

    async def run() -> Any:
        async with open_pool(settings) as pool:
            with show_progress() as progress:
                return await import_collection(
                    pool, folder, collection, upload_dir=settings.data_dir / "uploads",
                    max_pixels=settings.max_pixels, progress=progress,
                    open_gallerys_encoder=lambda row: open_encoder(settings, row),
                )  # fmt: skip

    report = run_async(run())
    click.echo(report.summary("imported"))
    sys.exit(1 if report.failed else 0)


@main.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def backup(folder: Path, as_json: bool) -> None:
    """Copy the database and the uploaded files into FOLDER; again, and only what is new is copied.

    The service may run meanwhile. Folders that were indexed in place are not in it.
    """
    from app.backup import back_up
    from app.database import start_database

    settings = Settings.from_env()
    copy = back_up(start_database(settings), settings.data_dir, folder)
    click.echo(msgspec.json.encode(copy) if as_json else copy.summary())


@main.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def restore(folder: Path, as_json: bool) -> None:
    """Bring a backup back, into a gallery that is empty, and to this program's revision."""
    from app.backup import restore as bring_back
    from app.database import start_database

    settings = Settings.from_env()
    copy = bring_back(start_database(settings), settings.data_dir, folder)
    click.echo(msgspec.json.encode(copy) if as_json else copy.summary())


@main.command()
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def psql(arguments: tuple[str, ...]) -> None:
    """Open psql on the gallery's database; what follows -- goes to psql."""
    from app.database import start_database
    from db.programs import run_psql

    sys.exit(run_psql(start_database(Settings.from_env()), arguments))


@main.command()
def settings() -> None:
    """List every setting, its value, and where the value came from."""
    for name, value, source in describe(Settings.from_env(), os.environ):
        click.echo(f"{name}={'' if value is None else value}  ({source})")


if __name__ == "__main__":
    main()
