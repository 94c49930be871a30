"""Draw docs/few-labels.svg, accuracy by the number of labels, from results/few-labels-*.json.

`python -m docs.few_labels` writes it again.
"""

import json
import re
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from pipeline.config.methods import METHODS
from pipeline.pages.axes import STYLE, set_value_axis

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "few-labels.svg"
# Okabe and Ito's colours and a mark of its own for each line: also in print, also for colour-blind readers.
LINES = {
    "teacher": ("#000000", "*"),
    "ft": ("#d55e00", "o"),
    "pseudo": ("#cc79a7", "s"),
    "kd": ("#0072b2", "D"),
    "pkd-skip": ("#009e73", "^"),
    "pkd-last": ("#e69f00", "v"),
}


def measured() -> dict[int, dict]:
    """Return the results by their number of labels."""
    files = {
        path: re.fullmatch(r"few-labels-(\d+)", path.stem) for path in (ROOT / "results").glob("few-labels-*.json")
    }
    return {int(match[1]): json.loads(path.read_text()) for path, match in sorted(files.items()) if match}


def main() -> None:
    """Write the picture."""
    results = dict(sorted(measured().items()))
    with matplotlib.rc_context(STYLE | {"figure.figsize": (6.4, 4.0), "svg.hashsalt": "few-labels"}):
        figure = Figure()
        axes = figure.add_subplot(xlabel="labels", ylabel="accuracy on dev, %")
        for place, (name, (colour, mark)) in enumerate(LINES.items()):
            points = []
            for labels, result in results.items():
                if name == "teacher":
                    points.append((labels, *result["teachers"].values(), 0.0))
                for row in result["by"]["method"]:
                    if row["value"] == name:
                        points.append((labels, row["mean"], row["high"] - row["mean"]))
            x, mean, half = zip(*points, strict=True)
            axes.errorbar(
                [value * (1 + 0.02 * (place - 2)) for value in x],  # side by side
                [100 * value for value in mean],
                None if name == "teacher" else [100 * value for value in half],
                color=colour,
                marker=mark,
                markersize=5,
                capsize=3,
                linestyle="--" if name == "teacher" else "-",
                label="teacher" if name == "teacher" else METHODS[name].display_name,
            )
        set_value_axis(axes, list(results))
        axes.legend(frameon=False)
        figure.savefig(PICTURE, format="svg", facecolor="white", metadata={"Date": None})


if __name__ == "__main__":
    main()
