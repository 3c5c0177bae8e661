"""datatrove's four steps of MinHash deduplication, run by near_dedup_pipelines.py in an environment of its own.

    python datatrove_minhash.py INPUT OUT WORKERS

INPUT holds Parquet files with `id` and `text`. Its defaults, 14 bands of 8 rows over word 5-grams, are ours; English
words come from its tokenizer. What is kept goes to OUT/kept, the rest to OUT/removed, each with its cluster.
"""

import sys

from datatrove.executor.local import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupBuckets
from datatrove.pipeline.readers import ParquetReader
from datatrove.pipeline.writers.jsonl import JsonlWriter
from datatrove.utils.typeshelper import Languages


def main() -> None:
    source, out, workers = sys.argv[1], sys.argv[2], int(sys.argv[3])
    config = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)

    def execute(pipeline: list[object], tasks: int, name: str) -> None:
        LocalPipelineExecutor(pipeline=pipeline, tasks=tasks, workers=workers, logging_dir=f"{out}/logs/{name}").run()

    sign = MinhashDedupSignature(output_folder=f"{out}/signatures", config=config, language=Languages.english)
    execute([ParquetReader(source), sign], workers, "1")
    buckets = MinhashDedupBuckets(input_folder=f"{out}/signatures", output_folder=f"{out}/buckets", config=config)
    execute([buckets], config.num_buckets, "2")
    clusters = MinhashDedupCluster(
        input_folder=f"{out}/buckets", output_folder=f"{out}/remove", config=config, save_cluster_id=True
    )
    execute([clusters], 1, "3")
    removed = JsonlWriter(f"{out}/removed", compression=None)
    cut = MinhashDedupFilter(f"{out}/remove", exclusion_writer=removed, load_cluster_ids=True)
    execute([ParquetReader(source), cut, JsonlWriter(f"{out}/kept", compression=None)], workers, "4")


if __name__ == "__main__":
    main()
