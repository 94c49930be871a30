"""Results of benchmark `inference`: series, ratios, shares of the best product, and their tables."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.system.formatting import size, table
from stages.benchmarks.contenders.inference_contenders import Shape, shape_name
from stages.benchmarks.harness.measurements import Ratio, Series, ratio
from stages.benchmarks.inference_forms import TORCH, MeasuredForm


@dataclass(frozen=True)
class InferenceResults:
    """Models in their forms: seconds of a batch of each shape and the best product of each precision, by round.

    `memory` is the peak of each form's process in bytes; it is empty where the system does not report it.
    """

    forms: Sequence[MeasuredForm]
    shapes: Sequence[Shape]
    seconds: Mapping[tuple[str, Shape], Sequence[float]]  # by name of the form
    products: Mapping[str, Sequence[float]]  # precision -> FLOP per second
    memory: Mapping[str, float]

    def latency(self, form: MeasuredForm, shape: Shape) -> Series:
        """Return the milliseconds of a batch."""
        name = f"{form.name}, {shape_name(shape)}: latency"
        return Series(name, "ms", tuple(1000 * value for value in self.seconds[form.name, shape]))

    def throughput(self, form: MeasuredForm, shape: Shape) -> Series:
        """Return the examples per second."""
        name = f"{form.name}, {shape_name(shape)}: throughput"
        return Series(name, "examples/s", tuple(shape[0] / value for value in self.seconds[form.name, shape]))

    def share(self, form: MeasuredForm, shape: Shape) -> Ratio | None:
        """Return its FLOP/s as a share of the best product in its precision; None where that was not measured."""
        if form.precision not in self.products:
            return None
        work = shape[0] * form.flops[shape[1]]
        rates = Series("", "FLOP/s", tuple(work / value for value in self.seconds[form.name, shape]))
        best = Series("", "FLOP/s", tuple(self.products[form.precision]))
        return ratio(f"{form.name}, {shape_name(shape)}: FLOP/s / of the best {form.precision} product", rates, best)

    def speed(self, form: MeasuredForm, shape: Shape, against: MeasuredForm) -> Ratio:
        """Return how many times as fast a form is as another."""
        name = f"{form.name} / {against.name}, {shape_name(shape)}: speed"
        return ratio(name, self.latency(against, shape), self.latency(form, shape))

    def baseline(self, form: MeasuredForm, of_form: str = TORCH) -> MeasuredForm | None:
        """Return the teacher's form that it is compared with; None where that was not measured, or is itself."""
        teacher = form.teacher or form.model
        found = [each for each in self.forms if (each.model, each.form) == (teacher, of_form)]
        return found[0] if found and found[0] is not form else None

    def series(self) -> list[Series]:
        """Return latency and throughput of every form and shape, memory and bytes, and the best products."""
        timed = [
            series(form, shape)
            for form in self.forms
            for shape in self.shapes
            for series in (self.latency, self.throughput)
        ]
        sizes = [Series(f"{form.name}: weights", "bytes", (float(form.bytes),)) for form in self.forms]
        memory = [Series(f"{name}: peak memory", "bytes", (value,)) for name, value in self.memory.items()]
        products = [
            Series(f"best {precision} product", "TFLOP/s", tuple(value / 1e12 for value in values))
            for precision, values in self.products.items()
        ]
        return [*timed, *sizes, *memory, *products]

    def ratios(self) -> list[Ratio]:
        """Return the speed of every form over its teacher in torch float32, and in the same form; and the shares."""
        found: list[Ratio] = []
        for form in self.forms:
            for of_form in dict.fromkeys((TORCH, form.form)):
                against = self.baseline(form, of_form)
                found += [self.speed(form, shape, against) for shape in self.shapes] if against else []
        shares = [self.share(form, shape) for form in self.forms for shape in self.shapes]
        return [*found, *(share for share in shares if share)]

    def text(self) -> str:
        """Return the tables for people: sizes, then a column for each shape."""
        facts = [
            [
                form.model,
                form.form,
                str(form.layers),
                f"{form.parameters:,}",
                size(form.bytes),
                size(self.memory[form.name]) if form.name in self.memory else "–",
            ]
            for form in self.forms
        ]
        return "\n\n".join(
            (
                table(["model", "form", "layers", "parameters", "weights", "peak memory"], facts),
                self._by_shape("ms per batch", lambda form, shape: f"{self.latency(form, shape).median:.4g}"),
                self._by_shape("examples/s", lambda form, shape: f"{self.throughput(form, shape).median:.4g}"),
                self._by_shape(f"× teacher in {TORCH}", self._times),
                self._by_shape("% of the best product", self._percent),
            )
        )

    def _by_shape(self, title: str, cell: Callable[[MeasuredForm, Shape], str]) -> str:
        header = [title, "", *map(shape_name, self.shapes)]
        rows = [[form.model, form.form, *(cell(form, shape) for shape in self.shapes)] for form in self.forms]
        return table(header, rows)

    def _times(self, form: MeasuredForm, shape: Shape) -> str:
        against = self.baseline(form)
        return f"{self.speed(form, shape, against).median:.2f}" if against else "1.00"

    def _percent(self, form: MeasuredForm, shape: Shape) -> str:
        share = self.share(form, shape)
        return f"{100 * share.median:.0f}" if share else "–"

    def as_json(self) -> dict[str, Any]:
        """Return what was measured by model, form and shape."""
        models: dict[str, Any] = {}
        for form in self.forms:
            facts: dict[str, Any] = {
                "teacher": form.teacher,
                "layers": form.layers,
                "parameters": form.parameters,
                "forms": {},
            }
            models.setdefault(form.model, facts)["forms"][form.form] = {
                "bytes": form.bytes,
                "peak_memory_bytes": self.memory.get(form.name),
                "shapes": {shape_name(shape): self._numbers(form, shape) for shape in self.shapes},
            }
        return models

    def _numbers(self, form: MeasuredForm, shape: Shape) -> dict[str, float | None]:
        against, same, share = self.baseline(form), self.baseline(form, form.form), self.share(form, shape)
        values = {
            "latency_ms": self.latency(form, shape).median,
            "examples_per_second": self.throughput(form, shape).median,
            "times_teacher_torch_float32": self.speed(form, shape, against).median if against else None,
            "times_teacher_same_form": self.speed(form, shape, same).median if same else None,
            "share_of_best_product": share.median if share else None,
        }
        return {name: None if value is None else float(f"{value:.4g}") for name, value in values.items()}
