"""Commands about the configuration, and about what Snakemake has made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from descbench.commands.app import (
    CONFIGURATION,
    DATASETS,
    METHODS,
    OWN_DATA,
    TABLES,
    ConfigFiles,
    KeptFolder,
    MethodOption,
    OnBadFile,
    help_text,
)
from descbench.commands.shown import print_table, printable

commands = typer.Typer()


@commands.command(
    rich_help_panel=CONFIGURATION,
    help=help_text(
        "Read the configuration, and name file, line and key of what is wrong with it.",
        "Reads config/config.yaml, its catalogue and the files over it, as the workflow does; nothing runs.",
        [("descbench check mine.yaml", "before `snakemake --configfile mine.yaml -- ...`")],
    ),
)
def check(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE]...", help="What you give to snakemake's --configfile.")
    ] = None,
) -> None:
    from descbench.command_files import blocks_laid_over, read_configuration

    config = read_configuration(files or [])
    for told in blocks_laid_over(files or [], config):
        print(f"{told}; the keys that it leaves out are that one's.")
    crossed = f" Cross tables: {', '.join(config.cross_tables)}." if config.cross_tables else ""
    print(f"The configuration is right. Tables: {', '.join(config.tables) or 'none'}.{crossed}")


@commands.command(
    rich_help_panel=CONFIGURATION,
    help=help_text(
        "Print where the Snakefile lies, for Snakemake's -s.",
        "For folders other than a checkout; data and results lie where you are.",
        [('snakemake --cores 8 -s "$(descbench snakefile)" results/table2.csv', "a table, with an installed package")],
    ),
)
def snakefile() -> None:
    from descbench.project import project_folder

    print(project_folder() / "Snakefile")


@commands.command(
    "list",
    rich_help_panel=CONFIGURATION,
    help=help_text(
        "List tables, datasets, methods or models: what each is, what it needs, its licence.",
        "Licences are those that the owners of data and weights state.",
        [
            ("descbench list tables", "the targets results/<name>.csv"),
            ("descbench list methods fire", "those with `fire` in their name"),
            ("descbench list datasets --configfile mine.yaml", "your own among them"),
        ],
    ),
)
def list_offered(
    kind: Annotated[Literal["tables", "datasets", "methods", "models"], typer.Argument(help="Of what.")],
    word: Annotated[str, typer.Argument(help="Only those with this word in their name or description.")] = "",
    configfile: ConfigFiles = None,
) -> None:
    from descbench.command_files import read_configuration
    from descbench.errors import ConfigError
    from descbench.offered import list_offers

    offers = list_offers(kind, read_configuration(configfile or []), word)
    if not offers and word:
        raise ConfigError(f"none of the {kind} has {word!r} in its name or description; leave it out to see all.")
    rows = [(offer.name, offer.what, offer.needs, offer.licence) for offer in offers]
    print_table(("name", "what it is", "what it needs", "licence"), rows)


@commands.command(
    rich_help_panel=CONFIGURATION,
    help=help_text(
        "Say what is missing for a table or one of its scores, before anything starts.",
        "Looks at data (also what must be asked for or fetched by hand), your own folders, disk, memory, GPU, packages "
        "and licences. "
        "Without --online nothing touches the network. The exit code is 1 where something is missing.",
        [
            ("descbench doctor results/table2.csv", "a table"),
            (
                "descbench doctor results/scores/fire_n1000/roxford5k.json --online",
                "one method on one dataset; asks the servers too",
            ),
        ],
    ),
)
def doctor(
    target: Annotated[str, typer.Argument(help="Any table, its file, or a scores file.", autocompletion=TABLES)],
    online: Annotated[
        bool, typer.Option("--online", help="Ask the servers whether what must be downloaded is there.")
    ] = False,
    configfile: ConfigFiles = None,
) -> None:
    from descbench.command_files import read_configuration
    from descbench.doctor import examine
    from descbench.plan import Plan

    findings = examine(Plan(read_configuration(configfile or [])), target, online=online)
    print_table(("", "what", "found"), [(finding.state, finding.what, finding.told) for finding in findings])
    missing = sum(finding.state == "missing" for finding in findings)
    downloads = sum(finding.downloads for finding in findings)
    later = f" {downloads} files will be downloaded." if downloads else ""
    print((f"{missing} missing." if missing else "Nothing is missing that you must bring.") + later)
    if missing:
        raise typer.Exit(1)


@commands.command(
    rich_help_panel=CONFIGURATION,
    help=help_text(
        "Write a table of any kind with all that it rests on into one zip file, an RO-Crate.",
        "In it are the table, its scores and their provenance, lists of images, configuration and workflow, and "
        "descriptions of the datasets (Croissant) with licences. Images, weights and features are not.",
        [
            ("descbench bundle results/table2.csv", "writes results/table2.crate.zip"),
            ("descbench bundle results/cross/retrieval.csv", "a cross table, with its tests"),
            ("descbench bundle results/protocols/table2.csv", "a table under other choices of scoring"),
            (
                "descbench bundle results/table2.csv --commercial",
                "refuses weights without a licence for commercial use",
            ),
        ],
    ),
)
def bundle(
    target: Annotated[str, typer.Argument(help="Table, or its file.", autocompletion=TABLES)],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Zip file to write.")] = None,
    commercial: Annotated[
        bool, typer.Option("--commercial", help="Refuse cells whose weights may not be used commercially.")
    ] = False,
    configfile: ConfigFiles = None,
) -> None:
    from descbench.bundle.bundle_table import bundle_table

    print(bundle_table(target, output, configfiles=configfile or [], commercial=commercial))


@commands.command(
    rich_help_panel=CONFIGURATION,
    help=help_text(
        "Hash files again, and name those that are not what was recorded.",
        "Of a bundle every file in it; of a table its scores, downloads, weights and your own files, and what stages "
        "between data and scores wrote (features, indexes, rankings, matches, descriptors, poses), where it is there. "
        "The last line says what was not compared.",
        [
            ("descbench verify table2.crate.zip", "a bundle"),
            ("descbench verify results/table2.csv", "a table, in the folder that it was computed in"),
        ],
    ),
)
def verify(
    target: Annotated[str, typer.Argument(help="Bundle, table, or file of a table.", autocompletion=TABLES)],
    configfile: ConfigFiles = None,
) -> None:
    from descbench.bundle.verify import verify as verify_files

    found = verify_files(target, configfiles=configfile or [])
    for one in found.differences:
        print(f"{one.state}: {printable(one.name)}: {printable(one.told)}")
    for file in found.absent:
        print(f"not present: {printable(file)}: the scores were made from it; nothing can be said of it")
    print(found.closing())
    if found.differences:
        raise typer.Exit(1)


@commands.command(
    rich_help_panel=CONFIGURATION,
    help=help_text(
        "Compare two methods on the same queries: difference, interval, p-value.",
        "For the metrics of two scores files: the difference (second minus first), its 95 % bootstrap interval over "
        "queries, and the p-value of a paired permutation test.",
        [
            ("descbench compare how_r18_n1000 fire_n1000 roxford5k", "a table with a row for each metric"),
            ("descbench compare how_r18_n1000 fire_n1000 roxford5k --metric map_hard", "only one"),
            (
                "descbench compare hpatches_sift hpatches_hardnet_liberty hpatches --metric 'matching*'",
                "all whose names fit",
            ),
        ],
    ),
)
def compare(
    first: Annotated[str, typer.Argument(help="Method, or the label of a row of a table.", autocompletion=METHODS)],
    second: Annotated[str, typer.Argument(help="The one that is compared with it.", autocompletion=METHODS)],
    dataset: Annotated[
        str, typer.Argument(help="Dataset or patch set that both have scores of.", autocompletion=DATASETS)
    ],
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="Only this metric, or those of a pattern such as 'matching*' (may be repeated); default: the first 20."
        ),
    ] = None,
    configfile: ConfigFiles = None,
) -> None:
    from descbench.result_commands import compare_methods

    print("\n".join(compare_methods(first, second, dataset, metric, configfile or [])))


@commands.command(
    rich_help_panel=CONFIGURATION,
    help=help_text(
        "Say which choice of scoring explains why a cell is not the published figure.",
        "Reads what results/protocols/<table>.csv was made of (`snakemake` makes it): the same results, scored as "
        "other code bases do. Without a row: the cells that are off, or all where none is. "
        "docs/protocols/choices.md says what each choice is.",
        [
            ("descbench why results/table2.csv", "the cells of a table that are off"),
            ("descbench why results/table2.csv how_r18_n1000 roxford5k map_medium", "one cell, and all choices"),
            ("descbench why results/scores/how_r18_n1000/roxford5k.json", "wherever a table shows these scores"),
            ('descbench why results/cross/retrieval.csv "FIRe, n=1000" rparis6k', "a cell of a cross table"),
        ],
    ),
)
def why(
    target: Annotated[str, typer.Argument(help="Any table, its file, or a scores file.", autocompletion=TABLES)],
    row: Annotated[str | None, typer.Argument(help="Row, by its label or its method; default: all.")] = None,
    dataset: Annotated[str | None, typer.Argument(help="Dataset or patch set.", autocompletion=DATASETS)] = None,
    metric: Annotated[str | None, typer.Argument(help="Metric, as in the table's CSV.")] = None,
    configfile: ConfigFiles = None,
) -> None:
    from descbench.choices.why import explain_cells

    lines, outcomes = explain_cells(target, row, dataset, metric, configfile or [])
    print("\n".join(lines))
    if outcomes:
        shown = [(found.choice, f"{found.value:.2f}", found.text, found.used_by) for found in outcomes]
        print_table(("choice", "value", "what is computed", "used by"), shown)


@commands.command(
    rich_help_panel=OWN_DATA,
    help=help_text(
        "Write a pairs file: for each image of a kapture folder, the most similar ones of another.",
        "It uses the codebook and the checkpoint that Snakemake made for the method; where they are missing, the "
        "command that makes them is named.",
        [
            (
                "descbench pairs --map room/mapping --query room/query --method fire_n1000 -o pairs.txt",
                "each query against the map",
            ),
            ("descbench pairs --map room/mapping --method fire_n1000 -o pairs.txt", "the map against itself"),
        ],
    ),
)
def pairs(
    map_folder: Annotated[Path, typer.Option("--map", help="Kapture folder that is searched.")],
    method: MethodOption,
    output: Annotated[Path, typer.Option("--output", "-o", help="Pairs file to write.")],
    query: Annotated[
        Path | None, typer.Option(help="Kapture folder of the queries; default: the map against itself.")
    ] = None,
    top_k: Annotated[
        int | None, typer.Option(help="Pairs of each query; default: `pairs_top_k` of the configuration.")
    ] = None,
    configfile: ConfigFiles = None,
    work: KeptFolder = None,
    on_bad_file: OnBadFile = "stop",
) -> None:
    from descbench.direct.pairs_of_folders import write_pairs

    settings = {"top_k": top_k, "configfiles": configfile or [], "work": work, "on_bad_file": on_bad_file}
    write_pairs(map_folder, query, method, output, **settings)
