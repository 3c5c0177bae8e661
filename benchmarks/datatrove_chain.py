"""FineWeb's chain in datatrove, run by an interpreter that has datatrove: `python datatrove_chain.py CRAWL OUT TASKS`.

datatrove pins another trafilatura than we do, so it lives in an environment of its own and this file imports nothing
of ours. The steps and their settings are those that FineWeb was made with, without what needs a download: the URL
filter's lists and the language filter's model. Prints one line of JSON.
"""

import json
import resource
import sys
import time
from importlib.metadata import version

SECONDS_A_PAGE = 30.0  # its default is one second by the clock, which a busy machine makes too short


def steps(crawl: str, out: str) -> list[object]:
    from datatrove.pipeline.extractors import Trafilatura
    from datatrove.pipeline.filters import (
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
    )
    from datatrove.pipeline.formatters import PIIFormatter
    from datatrove.pipeline.readers import WarcReader
    from datatrove.pipeline.writers import JsonlWriter

    return [
        WarcReader(crawl, glob_pattern="*.warc.gz"),
        Trafilatura(favour_precision=True, timeout=SECONDS_A_PAGE),
        GopherRepetitionFilter(),
        GopherQualityFilter(),
        C4QualityFilter(filter_no_terminal_punct=False),
        FineWebQualityFilter(),
        PIIFormatter(),
        JsonlWriter(f"{out}/documents"),
    ]


def main(crawl: str, out: str, tasks: int) -> None:
    from datatrove.executor import LocalPipelineExecutor

    began = time.perf_counter()
    executor = LocalPipelineExecutor(steps(crawl, out), tasks=tasks, workers=tasks, logging_dir=f"{out}/logs")
    stats = executor.run()
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(
        json.dumps(
            {
                "versions": {name: version(name) for name in ("datatrove", "trafilatura", "spacy")},
                "wall": time.perf_counter() - began,
                "cpu": sum(u.ru_utime + u.ru_stime for u in used),
                "steps": [
                    {
                        "name": s["name"],
                        "seconds": s["time_stats"]["total"],
                        **{k: _total(v) for k, v in s["stats"].items()},
                    }
                    for s in json.loads(stats.to_json())
                ],
            }
        )
    )


def _total(value: object) -> object:
    return value.get("total") if isinstance(value, dict) else value


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
