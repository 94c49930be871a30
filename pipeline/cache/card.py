"""The card of a published cache, README.md in the format of the hub, from its manifest."""

from collections.abc import Mapping, Sequence

from pipeline.cache.format.manifest import Manifest
from pipeline.cache.reader import Cache
from pipeline.data.evaluation import labelled
from pipeline.data.intervals import RESAMPLES, Interval, intervals
from pipeline.data.task_kinds import MULTIPLE_CHOICE
from pipeline.data.tasks import DEV, TASKS, role_of
from pipeline.errors import one_line
from pipeline.system.formatting import public_place, size, spans
from pipeline.system.markdown import code, codes, fenced, markdown_table, page

CARD = "README.md"
SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))
LARGER = "n>10M"

Intervals = Mapping[str, Mapping[str, Interval]]  # of the metrics of each split


def teacher_intervals(cache: Cache) -> dict[str, dict[str, Interval]]:
    """Return the 95 % intervals of the cached teacher's metrics on each labelled dev split, from its logits."""
    metrics = cache.manifest.task_metrics
    splits = {name: split for name, split in cache.splits.items() if role_of(name) == DEV and split.labelled}
    return {
        name: intervals(
            metrics.kind,
            metrics.names,
            *labelled(metrics.kind, split.column("logits"), split.labels),
            metrics.classes,
        )
        for name, split in splits.items()
    }


def dataset_card(manifest: Manifest, url: str, certain: Intervals) -> str:
    """Return the card of a cache that is published at `url`; `certain` are the intervals of its teacher's metrics."""
    place = public_place(url)
    use = f"pkd train-student --cache {place}\npkd cache pull {place} data/{one_line(manifest.task.name)}"
    sections = [
        (f"Cached teacher for {code(manifest.task.name)}", _summary(manifest)),
        ("Data", _data(manifest)),
        ("Teacher", _teacher(manifest, certain)),
        ("Limits", _limits(manifest)),
        ("Command", fenced(one_line(command, 2000), "console") if (command := manifest.made.get("command")) else ""),
        ("Use", f"{fenced(use, 'console')}\n\nEvery byte is compared with `manifest.json` when it is read."),
    ]
    return page(_front_matter(manifest), [section for section in sections if section[1]])


def _front_matter(manifest: Manifest) -> str:
    from huggingface_hub import DatasetCardData

    examples = sum(split.examples for split in manifest.splits.values())
    task = TASKS.get(manifest.task.name)
    is_choice = manifest.fields.kind == MULTIPLE_CHOICE.name
    data = DatasetCardData(
        pretty_name=f"Cached teacher for {one_line(manifest.task.name, 100)}",
        size_categories=[next((name for limit, name in SIZES if examples < limit), LARGER)],
        source_datasets=[task.hub[0]] if task and task.hub else None,
        tags=["knowledge-distillation", "patient-knowledge-distillation"],
        task_categories=["multiple-choice" if is_choice else "text-classification"],
        viewer=False,  # its files are those of this program, named by their digests
    )
    return data.to_yaml()


def _summary(manifest: Manifest) -> str:
    targets = "its logits"
    if manifest.layers:
        targets += f" and its [CLS] vectors of the layers {spans(manifest.layers)}, {manifest.dtype}"
    labels = f" Labels: {codes(manifest.task.labels)}." if manifest.task.labels else ""
    return (
        f"What a fine-tuned teacher says of every example: {targets}. Students are trained from it without the teacher "
        f"(Patient Knowledge Distillation, Sun et al., EMNLP 2019).{labels}"
    )


def _data(manifest: Manifest) -> str:
    rows = [
        [code(name), f"{split.examples:,}", f"{split.labelled_examples:,}"] for name, split in manifest.splits.items()
    ]
    origin = manifest.made.get("rows_from")
    lines = [f"- rows from: {code(origin)}"] if origin else []
    if manifest.task.text_columns:
        lines.append(f"- text columns: {codes(manifest.task.text_columns)}")
    lines += [f"- identity: {code(manifest.identity)}", f"- content: {code(manifest.content)}"]
    lines.append(f"- size of the columns: {size(manifest.bytes)}")
    return markdown_table(["split", "examples", "with a label"], rows) + "\n\n" + "\n".join(lines)


def _teacher(manifest: Manifest, certain: Intervals) -> str:
    rows: list[Sequence[str]] = []
    for split, metrics in manifest.teacher_metrics.items():
        for metric, value in metrics.items():
            interval = certain.get(split, {}).get(metric)
            text = f"{interval[0]:.4f} – {interval[1]:.4f}" if interval else "–"
            rows.append([code(split), code(metric), f"{value:.4f}", text])
    name = f"Teacher: {code(manifest.teacher_called)}." if manifest.teacher_called else ""
    if not rows:
        return name
    table = markdown_table(["split", "metric", "value", "95 % interval"], rows)
    note = f"Intervals: {RESAMPLES:,} bootstrap resamples of the examples."
    return "\n\n".join(part for part in (name, table, note if certain else "") if part)


def _limits(manifest: Manifest) -> str:
    lines = ["A student learns what this teacher says, its mistakes included."]
    if manifest.fields.texts:
        lines.append("It holds the texts of the rows. Publish it only where these may be published.")
    else:
        lines.append("It does not hold the texts of the rows, but their tokens, from which they can be read.")
    if not manifest.has_teacher:
        lines.append("Its targets were made elsewhere: it does not hold a teacher.")
    return "\n".join(f"- {line}" for line in lines)
