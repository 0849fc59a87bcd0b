"""Every path of the workflow, as text, from names alone: no file is read, and nothing of the configuration is known.

Every path is spelled here and nowhere else. Names may be wildcards in braces, which is how the rules use it. What lies
beside a file and belongs to its format (the checksum of a CSV, the origin of a download) is named in ``io``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Paths:
    """Paths below the two roots.

    Attributes:
        results: folder of all that is computed.
        data: folder of downloads and datasets.
    """

    results: str
    data: str

    # --- downloads and datasets in their official layouts ---

    def raw(self, file: str) -> str:
        """A downloaded file."""
        return f"{self.data}/raw/{file}"

    def datasets(self) -> str:
        """Folder of the datasets in their official layouts."""
        return f"{self.data}/datasets"

    def unpacked(self, source: str) -> str:
        """Marker of a source whose content lies in place."""
        return f"{self.datasets()}/.unpacked/{source}.json"

    def toytown(self) -> str:
        """Marker of the drawn town."""
        return f"{self.datasets()}/toytown.json"

    # --- manifests and patch sets ---

    def manifest(self, dataset: str) -> str:
        """Manifest of a dataset, CSV."""
        return f"{self.results}/manifests/{dataset}.csv"

    def ground_truth(self, dataset: str) -> str:
        """Ground truth of a dataset, JSON."""
        return f"{self.results}/manifests/{dataset}.gt.json"

    def image_pairs(self, dataset: str) -> str:
        """Image pairs of a dataset, CSV."""
        return f"{self.results}/manifests/{dataset}.pairs.csv"

    def left_out(self, dataset: str) -> str:
        """JSON list of the files in the user's folders that are not part of a dataset."""
        return f"{self.results}/manifests/{dataset}.left_out.json"

    def image_records(self, dataset: str) -> str:
        """What is known of the content of the user's own images, so that they are not read at every start."""
        return f"{self.results}/manifests/{dataset}.images.txt"

    def patches(self, patch_set: str, part: str) -> str:
        """Patches of one part of a patch set, and their labels."""
        return f"{self.results}/patches/{patch_set}/{part}.h5"

    def descriptors(self, method: str, patch_set: str, part: str) -> str:
        """Descriptors of one part of a patch set."""
        return f"{self.results}/descriptors/{method}/{patch_set}/{part}.h5"

    # --- networks and features ---

    def checkpoint(self, model: str) -> str:
        """Checkpoint of a model."""
        return f"{self.results}/checkpoints/{model}.pt"

    def clusters(self, model: str) -> str:
        """Sampled local descriptors and their clusters, from which the layer of a model is set."""
        return f"{self.results}/clusters/{model}.h5"

    def training_folder(self, model: str) -> str:
        """State, TensorBoard events and intermediate files of a training."""
        return f"{self.results}/training/{model}"

    def training_history(self, model: str) -> str:
        """Learning curve of a training, CSV: one row an epoch."""
        return f"{self.training_folder(model)}/history.csv"

    def feature_shard(self, features: str, dataset: str, role: str, shard: str) -> str:
        """One feature shard."""
        return f"{self.results}/features/{features}/{dataset}/{role}/{shard}.h5"

    def kept_features(self, features: str, dataset: str) -> str:
        """Folder of features of the user's own images that outlive their shards."""
        return f"{self.results}/features/{features}/{dataset}/.kept"

    # --- search ---

    def codebook(self, method: str) -> str:
        """Codebook of a method."""
        return f"{self.results}/codebooks/{method}.h5"

    def words_shard(self, method: str, dataset: str, role: str, shard: str) -> str:
        """Visual words of the features of one shard."""
        return f"{self.results}/words/{method}/{dataset}/{role}/{shard}.h5"

    def index_shard(self, method: str, dataset: str, shard: str) -> str:
        """One shard of an inverted file."""
        return f"{self.results}/indexes/{method}/{dataset}/{shard}.h5"

    def statistics(self, method: str, dataset: str) -> str:
        """Document frequencies over all shards of a search; only made where idf is used."""
        return f"{self.results}/indexes/{method}/{dataset}.statistics.h5"

    def ranking_part(self, method: str, dataset: str, searched: str, shard: str) -> str:
        """Ranking of a dataset's queries over one shard of an index or of global features."""
        return f"{self.results}/rankings/{method}/{dataset}/{searched}/{shard}.h5"

    def ranking(self, method: str, dataset: str) -> str:
        """Ranking of a dataset's queries."""
        return f"{self.results}/rankings/{method}/{dataset}.h5"

    def inliers(self, method: str, dataset: str) -> str:
        """Images that were verified, and by which features."""
        return f"{self.results}/inliers/{method}/{dataset}.h5"

    def inlier_counts(self, method: str, dataset: str, shard: str) -> str:
        """How many features of some queries and of the first images of their rankings match."""
        return f"{self.results}/inliers/{method}/{dataset}/{shard}.h5"

    def pairs(self, method: str, images: str, queries: str) -> str:
        """Pairs file of two kapture datasets: the most similar images of the first for each of the second."""
        return f"{self.results}/pairs/{method}/{images}__{queries}.txt"

    # --- matches ---

    def matches(self, method: str, dataset: str, shard: str) -> str:
        """Matches of one shard of a dataset's image pairs."""
        return f"{self.results}/matches/{method}/{dataset}/{shard}.h5"

    # --- localisation ---

    def image_matches(self, method: str, dataset: str, role: str) -> str:
        """Matches of the map images of a dataset with each other, or of its queries with them."""
        return f"{self.results}/matches/{method}/{dataset}.{role}.h5"

    def map_pairs(self, method: str, dataset: str) -> str:
        """Pairs of images of a dataset that are matched, CSV."""
        return f"{self.results}/pairs/{method}/{dataset}.csv"

    def reconstruction(self, method: str, dataset: str) -> str:
        """Folder of a map of points, a COLMAP model."""
        return f"{self.results}/reconstructions/{method}/{dataset}"

    def reconstruction_record(self, method: str, dataset: str) -> str:
        """What a map of points holds and was made of, JSON."""
        return f"{self.reconstruction(method, dataset)}.json"

    def poses(self, method: str, dataset: str) -> str:
        """Poses of a dataset's queries in the benchmark's format."""
        return f"{self.results}/poses/{method}/{dataset}.txt"

    # --- scores and tables ---

    def scores(self, method: str, dataset: str) -> str:
        """Metrics of one method on one dataset, JSON: one or several cells of a table."""
        return f"{self.results}/scores/{method}/{dataset}.json"

    def provenance(self, method: str, dataset: str) -> str:
        """What a scores file was made from, JSON."""
        return f"{self.results}/provenance/{method}/{dataset}.json"

    def page(self, method: str, dataset: str) -> str:
        """Page of pictures: results of one method on one dataset to look at."""
        return f"{self.results}/pages/{method}/{dataset}.html"

    def table(self, table: str) -> str:
        """Table as tidy CSV."""
        return f"{self.results}/{table}.csv"

    def table_markdown(self, table: str) -> str:
        """Table in the paper's own shape."""
        return f"{self.results}/{table}.md"

    def rescored(self, method: str, dataset: str) -> str:
        """What one method scores on one dataset under other choices of scoring, JSON."""
        return f"{self.results}/protocols/{method}/{dataset}.json"

    def protocol_table(self, table: str) -> str:
        """The cells of a table under other choices of scoring, CSV."""
        return f"{self.results}/protocols/{table}.csv"

    def protocol_table_markdown(self, table: str) -> str:
        """The same in short."""
        return f"{self.results}/protocols/{table}.md"

    def cross_table(self, name: str) -> str:
        """All rows on all datasets that fit them, tidy CSV."""
        return f"{self.results}/cross/{name}.csv"

    def cross_table_markdown(self, name: str) -> str:
        """The same as a matrix."""
        return f"{self.results}/cross/{name}.md"

    def cross_tests(self, name: str) -> str:
        """Paired tests between the rows of a cross table, CSV."""
        return f"{self.results}/cross/{name}.tests.csv"

    def counts(self, name: str) -> str:
        """Features and matches of a sequence, counted again, JSON."""
        return f"{self.results}/remeasured/{name}.json"

    def remeasured(self) -> str:
        """Published counts beside ours, CSV."""
        return f"{self.results}/remeasured.csv"

    def report(self) -> str:
        """Page that gathers all tables."""
        return f"{self.results}/report.html"
