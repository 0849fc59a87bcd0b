"""Commands for images of the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from descbench.commands.app import OWN_DATA, ConfigFiles, MethodOption, OnBadFile, help_text
from descbench.commands.shown import print_table, printable

commands = typer.Typer()

Images = Annotated[Path, typer.Option("--images", help="Folder of images (searched in depth).")]
Page = Annotated[Path | None, typer.Option("--html", help="Page with pictures to write.")]
Work = Annotated[
    Path | None,
    typer.Option(
        "--work",
        help="Folder that features and index stay in; default: one of the method and the images below "
        "results/direct (`results_dir`).",
    ),
]


@commands.command(
    rich_help_panel=OWN_DATA,
    help=help_text(
        "Find the images of a folder that are most similar to a query.",
        "Features and index are kept: another search extracts features of new images only. Where the checkpoint or the "
        "codebook of the method is missing, the command that makes it is named.",
        [
            (
                "descbench search --images photos --query a.jpg --method gem_sfm120k_tl_r50",
                "the ten images most similar to a.jpg, best first",
            ),
            (
                "descbench search --images photos --query queries --method how_r18_n1000 --html out.html",
                "every image in the folder `queries`, with a page of pictures",
            ),
        ],
    ),
)
def search(
    images: Images,
    query: Annotated[list[Path], typer.Option(metavar="<path>", help="Image, or folder of images (may be repeated).")],
    method: MethodOption,
    html: Page = None,
    top_k: Annotated[int, typer.Option(help="Images shown for each query.")] = 10,
    work: Work = None,
    on_bad_file: OnBadFile = "stop",
    configfile: ConfigFiles = None,
) -> None:
    from descbench.direct.search_images import search_images

    settings = {"html": html, "top_k": top_k, "work": work, "configfiles": configfile or [], "on_bad_file": on_bad_file}
    for found in search_images(images, query, method, **settings):
        print(printable(found.query))
        ranked = enumerate(zip(found.images, found.scores, strict=True), 1)
        print_table(
            ("", "score", "image"), [(str(place), f"{score:.6g}", str(path)) for place, (path, score) in ranked]
        )
    if html is not None:
        print(f"The page is {printable(html)}.")


@commands.command(
    rich_help_panel=OWN_DATA,
    help=help_text(
        "Match the features of two images.",
        "Prints how many features match, and how many of these are inliers of a homography, as the method's "
        "`estimator` and `threshold` say. Lines of inliers are drawn through on the page, the others dashed.",
        [
            ("descbench match a.jpg b.jpg --method sequences_sift --html out.html", "SIFT, without any download"),
            ("descbench match a.jpg b.jpg --method sequences_r2d2", "`descbench list methods matching` has the names"),
        ],
    ),
)
def match(
    first: Annotated[Path, typer.Argument(help="Image.")],
    second: Annotated[Path, typer.Argument(help="Image that it is matched with.")],
    method: MethodOption,
    html: Page = None,
    configfile: ConfigFiles = None,
) -> None:
    from descbench.direct.match_pair import match_pair

    found = match_pair(first, second, method, html=html, configfiles=configfile or [])
    print(f"{found.features[0]} and {found.features[1]} features, {len(found.scores)} matches")
    print(f"{int(found.inliers.sum())} inliers of one homography")
    if html is not None:
        print(f"The page is {printable(html)}.")


@commands.command(
    rich_help_panel=OWN_DATA,
    help=help_text(
        "Score a method on a folder of images with ground truth.",
        "Give one of --ground-truth (labels in the format of revisited Oxford: mean average precision), --positives "
        "(a list of correct images: recall@N) and --frames (two traverses of a route, labelled by frame number: "
        "recall@N). "
        "docs/data.md has the formats. The page shows what was right and wrong for each query, the worst first.",
        [
            (
                "descbench evaluate --images day --queries night --frames 2 --method gem_sfm120k_tl_r50",
                "images at most two frames off are correct",
            ),
            (
                "descbench evaluate --images photos --queries queries --ground-truth gnd.json --method how_r18_n1000 "
                "--html out.html",
                "mAP by your labels, with a page of pictures",
            ),
        ],
    ),
)
def evaluate(
    images: Images,
    method: MethodOption,
    queries: Annotated[
        Path | None,
        typer.Option(help="Folder of queries (searched in depth); default, with --ground-truth only: the images."),
    ] = None,
    ground_truth: Annotated[
        Path | None, typer.Option(help="gnd.json, labels in the format of revisited Oxford.")
    ] = None,
    positives: Annotated[Path | None, typer.Option(help="positives.json, the correct images of each query.")] = None,
    frames: Annotated[
        int | None, typer.Option(help="Frames that a correct image may be away from the query's.")
    ] = None,
    frame_pairs: Annotated[
        Path | None,
        typer.Option(help="Frames that show the same place, a line `query, database` each; default: equal numbers."),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Scores file (JSON) to write.")] = None,
    html: Page = None,
    work: Work = None,
    on_bad_file: OnBadFile = "stop",
    configfile: ConfigFiles = None,
) -> None:
    from descbench.direct.evaluate_images import evaluate_images
    from descbench.metrics.scores import UNITS

    labels = {"ground_truth": ground_truth, "positives": positives, "frames": frames, "frame_pairs": frame_pairs}
    places = {"output": output, "html": html, "work": work}
    settings = {**places, "configfiles": configfile or [], "on_bad_file": on_bad_file}
    scores = evaluate_images(images, method, queries=queries, **labels, **settings)
    rows = []
    for name, metric in scores.metrics.items():
        values = (metric.value, metric.low, metric.high, metric.chance)
        shown = ["" if v is None else f"{v * UNITS[metric.unit].factor:.2f}" for v in values]
        # Those that nothing is right for do not count in average precision.
        counted = sum(value is not None for value in scores.per_query[name])
        rows.append((name, *shown, str(counted)))
    print(f"{method}, {scores.num_queries} queries, in percent")
    print_table(("metric", "score", "95 % from", "to", "chance", "queries"), rows)
    if html is not None:
        print(f"The page is {printable(html)}.")
