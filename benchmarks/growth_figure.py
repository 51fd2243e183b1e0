"""The figure of growth: seconds and peak memory against images, both on scales of powers of ten."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# Okabe and Ito's colours, which colour-blind readers can tell apart; and a marker each, for print in grey.
_STYLES = (("#0072B2", "o"), ("#D55E00", "s"), ("#E69F00", "^"), ("#009E73", "D"), ("#56B4E9", "v"))
_FORMAT: dict[Any, Any] = {
    "svg.hashsalt": "growth",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}

Columns = tuple[Sequence[int], Sequence[float], Sequence[float]]


def draw(path: Path, series: Mapping[str, Columns]) -> None:
    """Draw the figure.

    Args:
        path: of the PNG file.
        series: name -> numbers of images, seconds, MiB of peak memory.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import StrMethodFormatter

    with plt.rc_context(_FORMAT):
        figure, panels = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
        for panel, column, label in zip(panels, (1, 2), ("seconds", "peak memory, MiB"), strict=True):
            for (name, columns), (colour, marker) in zip(series.items(), _STYLES, strict=False):
                panel.loglog(columns[0], columns[column], color=colour, marker=marker, markersize=4, label=name)
            panel.set_xlabel("normal images")
            panel.set_title(label, loc="left")
            panel.grid(color="0.9")
            for axis in (panel.xaxis, panel.yaxis):
                axis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        panels[1].set_ylim(bottom=min(min(columns[2]) for columns in series.values()) / 2)
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=3, frameon=False)
        figure.savefig(path, dpi=150, metadata={"Software": None})
        plt.close(figure)
