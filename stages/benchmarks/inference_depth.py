"""The depth table of benchmark `inference`: encoders of one shape and several depths, random weights, torch float32."""

import copy
from dataclasses import dataclass
from typing import Any

import torch

from pipeline.config.benchmark import BenchmarkConfig
from pipeline.models.checkpoints import build_classifier
from pipeline.models.encoders import parameter_count
from pipeline.system.formatting import size, table
from pipeline.system.progress import bar
from stages.benchmarks.contenders.inference_contenders import Shape, Turns, depth_models, shape_name
from stages.benchmarks.harness.lines import Line
from stages.benchmarks.harness.measurements import Ratio, Series, ratio
from stages.benchmarks.harness.synthetic import teacher_config
from stages.benchmarks.harness.timing import Contender


@dataclass(frozen=True)
class DepthTable:
    """Encoders by their number of layers, the deepest first: parameters, bytes of weights, seconds of each shape."""

    parameters: dict[int, int]
    bytes: dict[int, int]
    seconds: dict[tuple[int, Shape], list[float]]  # one per round
    shapes: tuple[Shape, ...]

    @property
    def deepest(self) -> int:
        """The largest number of layers."""
        return max(self.parameters)

    def latency(self, layers: int, shape: Shape) -> Series:
        """Return the milliseconds of a batch."""
        name = f"{_layers(layers)}, {shape_name(shape)}: latency"
        return Series(name, "ms", tuple(1000 * value for value in self.seconds[layers, shape]))

    def throughput(self, layers: int, shape: Shape) -> Series:
        """Return the examples per second."""
        name = f"{_layers(layers)}, {shape_name(shape)}: throughput"
        return Series(name, "examples/s", tuple(shape[0] / value for value in self.seconds[layers, shape]))

    def series(self) -> list[Series]:
        """Return latency and throughput of every depth and shape."""
        return [
            series(layers, shape)
            for layers in self.parameters
            for shape in self.shapes
            for series in (self.latency, self.throughput)
        ]

    def ratios(self) -> list[Ratio]:
        """Return the time of each depth as a share of that of the deepest."""
        return [self._ratio(n, shape) for n in self.parameters if n != self.deepest for shape in self.shapes]

    def _ratio(self, layers: int, shape: Shape) -> Ratio:
        name = f"time of {_layers(layers)} / of {_layers(self.deepest)}, {shape_name(shape)}"
        return ratio(name, self.latency(layers, shape), self.latency(self.deepest, shape))

    def lines(self) -> list[Line]:
        """Return straight lines through (layers, parameters) and, for each shape, (layers, seconds)."""
        counts = {n: Series(_layers(n), "parameters", (float(count),)) for n, count in self.parameters.items()}
        times = {
            shape: {n: Series(_layers(n), "s", tuple(self.seconds[n, shape])) for n in self.parameters}
            for shape in self.shapes
        }
        return [
            Line("parameters by depth", "parameters", "layer", tuple(sorted(counts.items()))),
            *(
                Line(f"time by depth, {shape_name(shape)}", "s", "layer", tuple(sorted(points.items())))
                for shape, points in times.items()
            ),
        ]

    def text(self) -> str:
        """Return the table for people."""
        header = ["layers", "parameters", "", "weights", ""]
        for shape in self.shapes:
            header += [f"{shape_name(shape)}: ms", "examples/s", ""]
        rows = []
        for n, count in self.parameters.items():
            row = [str(n), f"{count:,}", _share(count / self.parameters[self.deepest])]
            row += [size(self.bytes[n]), _share(self.bytes[n] / self.bytes[self.deepest])]
            for shape in self.shapes:
                share = 1.0 if n == self.deepest else self._ratio(n, shape).median
                row += [f"{self.latency(n, shape).median:.4g}", f"{self.throughput(n, shape).median:.4g}"]
                row.append(_share(share))
            rows.append(row)
        return table(header, rows)

    def as_json(self) -> dict[str, Any]:
        """Return what was measured, by number of layers and shape; shares are of the deepest."""
        return {
            str(n): {
                "parameters": count,
                "parameters_share": round(count / self.parameters[self.deepest], 4),
                "bytes": self.bytes[n],
                "shapes": {
                    shape_name(shape): {
                        "latency_ms": float(f"{self.latency(n, shape).median:.4g}"),
                        "examples_per_second": float(f"{self.throughput(n, shape).median:.4g}"),
                        "time_share": 1.0 if n == self.deepest else round(self._ratio(n, shape).median, 4),
                    }
                    for shape in self.shapes
                },
            }
            for n, count in self.parameters.items()
        }


def measure_depths(config: BenchmarkConfig, turns: Turns, rounds: int, device: str) -> DepthTable:
    """Measure encoders of the depths of --depths, all in one process, in turn in every round."""
    shape = teacher_config("demo" if config.quick else config.model)
    configs = {n: _of_depth(shape, n) for n in config.layers()}
    sizes = {n: _sizes(each) for n, each in configs.items()}
    seconds: dict[tuple[int, Shape], list[float]] = {(n, each): [] for n in sizes for each in turns.shapes}
    with (
        Contender(depth_models, configs, device, turns) as contender,
        bar((rounds + 1) * len(turns.shapes), "benchmark inference: depth", "turn") as progress,
    ):
        for number in range(rounds + 1):  # the first, which warms up, is not counted
            for index, each in enumerate(turns.shapes):
                for n, (work, taken) in contender(index).items():
                    if number:
                        seconds[int(n), each].append(taken / work)
                progress.update()
    return DepthTable(
        {n: count for n, (count, _) in sizes.items()},
        {n: weights for n, (_, weights) in sizes.items()},
        seconds,
        turns.shapes,
    )


def _of_depth(shape: Any, layers: int) -> Any:
    """Return the configuration of an encoder of this shape with so many layers."""
    config = copy.deepcopy(shape)
    config.num_hidden_layers = layers
    return config


def _sizes(config: Any) -> tuple[int, int]:
    """Return parameters, and bytes of weights, of an encoder; nothing is allocated for it."""
    with torch.device("meta"):
        model = build_classifier(config)
    return parameter_count(model), sum(t.numel() * t.element_size() for t in model.parameters())


def _layers(number: int) -> str:
    return f"{number} layer{'' if number == 1 else 's'}"


def _share(value: float) -> str:
    return f"{100 * value:.0f} %"
