"""The options of the `cache …` commands."""

from dataclasses import dataclass

from pipeline.config.options import GO_ON, Options, option
from pipeline.config.rows import MovedRowsConfig
from pipeline.config.shared import CONTAINER_NAMES, seed_option


@dataclass(frozen=True, kw_only=True)
class CacheLsConfig(Options):
    """List caches: identity, task, teacher, splits, layers, bytes, age."""

    location: str = option(
        "data", help="directory or URL that contains the caches  [default: data]", metavar="[DIR|URL]", positional=True
    )


@dataclass(frozen=True, kw_only=True)
class CacheInfoConfig(Options):
    """Describe what a cache holds, and what each of its layers has to teach.

    For each layer: how much its normalised [CLS] vectors vary about their mean (0: all alike, 1: no common
    direction), and the score on the dev split of a linear probe trained on them.
    """

    cache: str = option(help="cache directory or URL", metavar="DIR|URL", positional=True)
    probe_examples: int = option(2000, help="training examples of each linear probe; 0: no probes", low=0)


@dataclass(frozen=True, kw_only=True)
class CacheVerifyConfig(MovedRowsConfig):
    """Check every byte of a cache: digests, schema, rows, finite values. Damage ends with exit code 2.

    With --repair, damaged files are replaced, and no others: from another copy (--from), or computed again by the
    teacher in the cache.
    """

    cache: str = option(help="cache directory", metavar="DIR", positional=True)
    sample: int = option(
        0, help="run the teacher in the cache again on this many random rows; 0: none", group="Check", low=0
    )
    seed: int = seed_option("seed of the choice of these rows", group="Check")
    repair: bool = option(
        False, help="replace damaged files, from --from if given, else computed again", group="Repair"
    )
    from_: str | None = option(
        None,
        help="another copy of this cache to repair from  [default: compute again]",
        group="Repair",
        metavar="DIR|URL",
    )


@dataclass(frozen=True, kw_only=True)
class CacheDiffConfig(Options):
    """Compare two caches: field by field, then rows, then numbers."""

    a: str = option(help="cache directory or URL", metavar="A", positional=True)
    b: str = option(help="cache directory or URL", metavar="B", positional=True)


@dataclass(frozen=True, kw_only=True)
class CachePushConfig(Options):
    """Publish a cache at a URL. Only what is not there yet is sent; what is published does not change."""

    after_stop = GO_ON

    cache: str = option(help="cache directory", metavar="DIR", positional=True)
    url: str = option(help="URL to publish it at, for example s3://bucket/mnli", metavar="URL", positional=True)


@dataclass(frozen=True, kw_only=True)
class CachePullConfig(Options):
    """Copy a published cache into a directory. Only what is missing is fetched, and every byte is checked."""

    after_stop = GO_ON

    url: str = option(help="URL of a published cache", metavar="URL", positional=True)
    cache: str = option(help="cache directory to write", metavar="DIR", positional=True)


@dataclass(frozen=True, kw_only=True)
class CacheConvertConfig(Options):
    """Write a copy in another container, or a narrower one, without running the teacher."""

    after_stop = GO_ON

    cache: str = option(help="cache directory", metavar="DIR", positional=True)
    out: str = option(help="cache directory to write", metavar="OUT", positional=True)
    format: str | None = option(None, help="container of the shards  [default: unchanged]", choices=CONTAINER_NAMES)
    layers: str | None = option(None, help="teacher layers to keep, for example 2,4  [default: all]", metavar="2,4")
    dtype: str | None = option(
        None, help="stored type of the [CLS] vectors  [default: unchanged]", choices=("float16", "float32")
    )


@dataclass(frozen=True, kw_only=True)
class CacheExportConfig(Options):
    """Write rows, labels and targets of a cache as one table, which cache-teacher reads with --target-columns.

    Columns: split, example_id, the texts, label (a name, a list of names, or a number), and the targets.
    """

    cache: str = option(help="cache directory or URL", metavar="DIR|URL", positional=True)
    out: str = option(help="file to write: .parquet, .csv or .jsonl", metavar="FILE")
    split: str | None = option(
        None, help="split to write, or the role of several: train, transfer, dev, test  [default: all]"
    )
    targets: str | None = option(
        None,
        help="targets to write: probabilities, logprobs, logits, score (regression), and cls_01, … for [CLS] vectors  "
        "[default: probabilities, or score]",
        metavar="A,B,…",
    )
    no_text: bool = option(False, help="leave the texts out")


@dataclass(frozen=True, kw_only=True)
class CacheGcConfig(Options):
    """Remove files of stopped writers, and shards that the manifest does not name. Look first with --dry-run.

    Files of other kinds are listed and kept.
    """

    cache: str = option(help="cache directory", metavar="DIR", positional=True)
    dry_run: bool = option(False, help="only list the files that would be removed")
