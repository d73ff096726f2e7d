"""A comparison as one picture: masks, receptive field, FLOPs, time, memory, and in words what is slower.

What is computed from masks alone and what was measured here have panels of their own. Colours are those of Okabe and
Ito, which colour-blind people can tell apart; each kind has its own marker as well.
"""

import textwrap
from pathlib import Path
from typing import Any

import numpy

from pinfold.builder.attention.masks import kind_config, names, reasons
from pinfold.builder.attention.settings import Settings
from pinfold.builder.attention.words import (
    machine_text,
    percent,
    sentence,
    settings_text,
    slower_at,
    warning,
    warnings,
)

CORNER = 256  # tokens of the masks that are drawn, or all of a shorter row
INK, SOFT, GRID, WARNING = "#1f2430", "#5b6472", "#e3e6ea", "#a33b00"
KINDS = {"full": ("#4d4d4d", "o"), "local": ("#0072b2", "s"), "strided": ("#d55e00", "^"), "random": ("#009e73", "D")}
OTHER = ("#cc79a7", "v")
# not seen, itself or full, window, stride, random, global, padding
REASONS = ["#f6f7f9", "#4d4d4d", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#c9cdd3"]
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 20,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "legend.frameon": False,
    "svg.fonttype": "none",  # words stay words, which can be found and read aloud
    "svg.hashsalt": "pinfold",  # the same bytes for the same numbers
}


def draw(result: dict[str, Any], file: Path) -> None:
    """Write the picture of a comparison, as PNG or SVG by the file's ending."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        measured = bool(result["yardstick"])
        height = 10.6 if measured else 7.4
        figure = Figure(figsize=(11, height), dpi=150, facecolor="white")
        FigureCanvasAgg(figure)
        inch = 1 / height
        place = {"left": 0.075, "right": 0.975}
        top = figure.add_gridspec(1, 4, top=1 - 1.15 * inch, bottom=1 - 3.1 * inch, wspace=0.18, **place)
        grid = figure.add_gridspec(
            1 + measured, 2, top=1 - 4.1 * inch, bottom=foot(result) * inch, hspace=0.75, wspace=0.22, **place
        )
        figure.text(
            0.025, 1 - 0.32 * inch, "What each kind of attention sees, and what it costs", size=15, weight="bold"
        )
        figure.text(0.025, 1 - 0.56 * inch, settings_text(result["settings"]), color=SOFT)
        masks(figure, top, result, inch)
        receptive_field(figure.add_subplot(grid[0, 0]), result)
        operations(figure.add_subplot(grid[0, 1]), result)
        if measured:
            times(figure.add_subplot(grid[1, 0]), result)
            memory(figure.add_subplot(grid[1, 1]), result)
        words(figure, result, inch)
        if file.suffix.lower() == ".svg":
            figure.savefig(file, format="svg", facecolor="white", metadata={"Date": None})
        else:
            save_png(figure, file)


def save_png(figure: Any, file: Path) -> None:
    """With a palette: a third of the bytes, and no difference that one sees."""
    from PIL import Image

    figure.canvas.draw()
    image = Image.fromarray(numpy.asarray(figure.canvas.buffer_rgba())).convert("RGB")
    image.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)


def masks(figure: Any, grid: Any, result: dict[str, Any], inch: float) -> None:
    """The masks of the first tokens, a pixel a pair, and what the colours mean."""
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    shown, kinds = Settings(**result["settings"]), list(result["kinds"])
    corner = min(CORNER, shown.length)
    used: dict[int, str] = {}
    ones: set[str] = set()
    for index, kind in enumerate(kinds):
        axes = figure.add_subplot(grid[index])
        codes = reasons(kind_config(shown, kind), 0, shown.length, shown.pads)[:corner, :corner].numpy()
        axes.imshow(codes, cmap=ListedColormap(REASONS), vmin=-0.5, vmax=6.5, interpolation="nearest")
        axes.grid(False)
        axes.spines[["top", "right"]].set_visible(True)
        axes.set_title(f"{kind}: {percent(result['kinds'][kind]['density'])} of pairs", pad=6)
        axes.set_xticks([0, corner - 1])
        axes.set_yticks([0, corner - 1] if not index else [])
        axes.set_xlabel("key", labelpad=-6)
        if not index:
            axes.set_ylabel("query", labelpad=-12)
        used |= {int(code): names(kind)[code] for code in set(codes.flat) if code != 1}
        ones |= {names(kind)[1]} if (codes == 1).any() else set()
    if ones:
        used[1] = ", or ".join(sorted(ones))
    patches = [
        Patch(facecolor=REASONS[code], edgecolor=SOFT, linewidth=0.5, label=used[code]) for code in sorted(used)
    ]
    which = f"the first {corner} tokens" if corner < shown.length else "all tokens"
    box = figure.axes[0].get_position()
    figure.legend(
        handles=patches, ncols=len(patches), loc="lower right", bbox_to_anchor=(0.98, box.y1 + 0.23 * inch),
        borderpad=0, handlelength=1, handleheight=1, columnspacing=1.2,
    )  # fmt: skip
    figure.text(0.025, box.y1 + 0.28 * inch, f"Why a pair is seen ({which})", color=SOFT)


def style(kind: str) -> dict[str, Any]:
    colour, marker = KINDS.get(kind, OTHER)
    return {"color": colour, "marker": marker, "markersize": 4.5, "linewidth": 1.6, "label": kind}


def legend(axes: Any, columns: int, handles: list[Any] | None = None) -> None:
    """Above the panel, where it hides nothing."""
    more = {} if handles is None else {"handles": handles}
    axes.legend(
        ncols=columns, loc="lower left", bbox_to_anchor=(0, 1), borderpad=0, borderaxespad=0.5, handlelength=1.4,
        handletextpad=0.4, columnspacing=0.9, fontsize=7.8, **more,
    )  # fmt: skip


def receptive_field(axes: Any, result: dict[str, Any]) -> None:
    """The share of pairs that several layers reach."""
    for kind, facts in result["kinds"].items():
        layers, tried = facts["layers_to_all"], facts["layers_tried"]
        until = f"all after {layers}" if layers else "never all" if tried is None else f"not all after {tried}"
        shares = [100 * share for share in facts["reach"]]
        axes.plot(range(1, len(shares) + 1), shares, **{**style(kind), "label": f"{kind} ({until})"})
    axes.set_title("Receptive field: pairs reached through layers")
    axes.set_xlabel("layers")
    axes.set_ylabel("% of pairs")
    axes.set_ylim(-3, 105)
    axes.xaxis.get_major_locator().set_params(integer=True)
    legend(axes, 4)


UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def operations(axes: Any, result: dict[str, Any]) -> None:
    """FLOPs that the seen pairs need, and those that are computed."""
    kinds = list(result["kinds"])
    costs = [result["kinds"][kind]["flops"] for kind in kinds]
    most = max(cost[name] for cost in costs for name in ("density", "implementation"))
    unit, letter = next(((size, letter) for size, letter in UNITS if most >= size), (1, ""))
    for index, (kind, cost) in enumerate(zip(kinds, costs, strict=True)):
        colour, _ = KINDS.get(kind, OTHER)
        for offset, name, look in (
            (-0.19, "density", {"facecolor": "white", "hatch": "////", "edgecolor": colour}),
            (0.19, "implementation", {"facecolor": colour, "edgecolor": colour}),
        ):
            number = cost[name] / unit
            axes.barh(index + offset, number, height=0.34, linewidth=1, **look)
            axes.text(number + most / unit * 0.012, index + offset, f"{number:.3g}", va="center", size=8)
    from matplotlib.patches import Patch

    legend(
        axes,
        2,
        [
            Patch(facecolor="white", hatch="////", edgecolor=SOFT, label="that the seen pairs need"),
            Patch(facecolor=SOFT, label="that this implementation computes"),
        ],
    )
    axes.set_yticks(range(len(kinds)), kinds)
    axes.invert_yaxis()
    axes.set_xlim(0, most / unit * 1.15)
    axes.grid(axis="y", visible=False)
    axes.set_title(f"{letter}FLOPs of attention at {result['settings']['length']:,} tokens")
    axes.set_xlabel(f"{letter}FLOPs, counted")


def lines(axes: Any, result: dict[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """What is drawn against length: the kinds, and full attention for comparison. Sets both axes."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    lengths = [at["length"] for at in result["yardstick"]]
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(lengths)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:,.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("tokens")
    drawn = [(kind, facts["measured"]) for kind, facts in result["kinds"].items()]
    return drawn if "full" in result["kinds"] else [*drawn, ("full", result["yardstick"])]


def times(axes: Any, result: dict[str, Any]) -> None:
    """Milliseconds against length: median, and a band of quartiles; a ring where full attention is faster."""
    for kind, measured in lines(axes, result):
        lengths = [at["length"] for at in measured]
        took = [at["milliseconds"] for at in measured]
        axes.fill_between(
            lengths, [t["low"] for t in took], [t["high"] for t in took], color=style(kind)["color"], alpha=0.18, lw=0
        )
        axes.plot(lengths, [t["median"] for t in took], **style(kind))
        slow = slower_at(measured) if kind != "full" else []
        at = [lengths.index(length) for length in slow]
        axes.plot(
            slow, [took[i]["median"] for i in at], "o", markersize=12, markerfacecolor="none", markeredgecolor=WARNING
        )
    if any(warning(facts) for facts in result["kinds"].values()):
        axes.plot([], [], "o", markersize=9, markerfacecolor="none", markeredgecolor=WARNING, label="slower than full")
    axes.set_title("Measured time of one layer: median and quartiles")
    axes.set_ylabel("milliseconds")
    legend(axes, 5)


def memory(axes: Any, result: dict[str, Any]) -> None:
    """Megabytes against length."""
    for kind, measured in lines(axes, result):
        axes.plot([at["length"] for at in measured], [at["bytes"] / 1e6 for at in measured], **style(kind))
    axes.set_title("Measured peak memory of one layer")
    axes.set_ylabel("MB")
    axes.set_xlabel("tokens; memory beyond input and weights")
    legend(axes, 5)


def paragraphs(result: dict[str, Any]) -> list[tuple[str, str]]:
    """What is written below, with its colour: a line for each kind, warnings, and where it was measured."""
    below = []
    for facts in result["kinds"].values():
        say = sentence(facts, result["settings"]["length"], warn=False)
        below += [(line, INK) for line in textwrap.wrap(say, COLUMNS, subsequent_indent="    ")]
    below += [(line, WARNING) for line in textwrap.wrap(warnings(result), COLUMNS)]
    return [*below, (machine_text(result["machine"]), SOFT)]


def foot(result: dict[str, Any]) -> float:
    """Inches below the panels."""
    return 0.85 + LINE * len(paragraphs(result))


LINE = 0.19  # inches from one line of words to the next
COLUMNS = 174  # letters that fit in a line


def words(figure: Any, result: dict[str, Any], inch: float) -> None:
    below = paragraphs(result)
    for index, (text, colour) in enumerate(below):
        figure.text(0.025, (0.15 + LINE * (len(below) - 1 - index)) * inch, text, color=colour, size=8.5)
