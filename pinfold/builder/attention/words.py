"""The numbers of a comparison as sentences and as a table, for a terminal and for the words below a picture."""

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

WIDTH = 100  # columns of a terminal


def percent(share: float) -> str:
    """Two digits that count: 3.1 %, 0.021 %, 100 %; never 100 % of what is less, nor 0 % of what is more."""
    if share in (0, 1):
        return f"{share:.0%}".replace("%", " %")
    shown = f"{100 * share:.2g}" if share < 0.1 else f"{100 * share:.1f}"
    if float(shown) >= 100:
        return "over 99.9 %"
    return f"{float(shown):g} %"


def ratio_text(ratio: dict[str, float]) -> str:
    return f"{ratio['median']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})"


def verdict(ratio: dict[str, float]) -> str:
    """Whether a kind is slower or faster than full attention, beyond the spread of its ratios."""
    if ratio["low"] > 1:
        return "slower"
    return "faster" if ratio["high"] < 1 else "as fast"


def slower_at(measured: Sequence[dict[str, Any]]) -> list[int]:
    """The lengths at which a kind is slower than full attention."""
    return [at["length"] for at in measured if verdict(at["ratio"]) == "slower"]


def listed(numbers: Sequence[int]) -> str:
    """1, 2 and 3."""
    texts = [f"{number:,}" for number in numbers]
    return " and ".join([", ".join(texts[:-1]), texts[-1]]) if len(texts) > 1 else texts[0]


def warning(facts: dict[str, Any]) -> str:
    """Where a kind that sees less costs more; empty where it never does."""
    lengths = slower_at(facts["measured"])
    if facts["kind"] == "full" or facts["density"] == 1 or not lengths:
        return ""
    return f"{facts['kind']} is slower than full attention at {listed(lengths)} tokens, though it sees less."


def warnings(result: dict[str, Any]) -> str:
    """All kinds that are slower than full attention, in one sentence; empty where none is."""
    slow = [facts for facts in result["kinds"].values() if warning(facts)]
    if not slow:
        return ""
    each = "; ".join(f"{facts['kind']} at {listed(slower_at(facts['measured']))} tokens" for facts in slow)
    return f"Seeing less is not being faster. Slower than full attention on this machine: {each}."


def depth(facts: dict[str, Any]) -> str:
    """After how many layers every token sees every token."""
    layers, tried = facts["layers_to_all"], facts["layers_tried"]
    if layers is not None:
        return f"every token sees every token after {layers} layer{'s' * (layers > 1)}"
    if tried is None:
        return "some tokens never see each other, however many layers"
    return f"not every token sees every token after {tried} layers"


def time_text(at: dict[str, Any], kind: str) -> str:
    """What a kind takes at a length, in full attention's time."""
    if kind == "full":
        return f"{at['milliseconds']['median']:.3g} ms at {at['length']:,} tokens"
    text = f"{ratio_text(at['ratio'])} of full attention's time at {at['length']:,} tokens"
    return (
        text
        + {"slower": ", which is slower", "faster": "", "as fast": ", as fast within the spread"}[verdict(at["ratio"])]
    )


def sentence(facts: dict[str, Any], length: int, warn: bool = True) -> str:
    """What a kind sees and costs, in words.

    Args:
        length: the one whose time is named.
        warn: add at which other lengths it is slower than full attention.
    """
    parts = [f"sees {percent(facts['density'])} of the pairs"]
    if facts["measured"]:
        at = next(at for at in facts["measured"] if at["length"] == length)
        parts[0] += f", {time_text(at, facts['kind'])}"
    parts.append(depth(facts))
    text = f"{facts['kind']}: {'; '.join(parts)}."
    others = [at for at in facts["measured"] if warn and at["length"] != length]
    more = warning({**facts, "measured": others})
    return f"{text} {more[0].upper()}{more[1:]}" if more else text


def machine_text(machine: dict[str, Any]) -> str:
    """Where it was measured, in one line."""
    cores, threads = machine["cores"], machine["threads"]
    return (
        f"{machine['device'].upper()} ({machine['processor']}), {cores} core{'s' * (cores != 1)}, "
        f"{threads} thread{'s' * (threads != 1)}, {machine['dtype']}, torch {machine['torch']}, "
        f"transformers {machine['transformers']}"
    )


def settings_text(settings: dict[str, Any]) -> str:
    """What was compared, in one line."""
    text = (
        f"{settings['length']:,} tokens, {settings['heads']} heads of {settings['width']}, "
        f"window {settings['window']}, stride {settings['stride']}, {settings['keys']} random keys, "
        f"{settings['globals']} global tokens"
    )
    return f"{text}, {settings['pads']} tokens of padding" if settings["pads"] else text


def lines(result: dict[str, Any]) -> Iterator[str]:
    """The whole comparison for a terminal of 100 columns."""
    settings, kinds = result["settings"], result["kinds"]
    yield settings_text(settings)
    yield machine_text(result["machine"])
    yield ""
    yield "             pairs   layers until   GFLOPs of     GFLOPs   difference from the dense mask"
    yield "kind          seen    all see all   the pairs   computed      of outputs     of gradients"
    for kind, facts in kinds.items():
        layers, tried = facts["layers_to_all"], facts["layers_tried"]
        until = str(layers) if layers else "never" if tried is None else f"over {tried}"
        cost, difference = facts["flops"], facts["difference"]
        yield (
            f"{kind:9}{percent(facts['density']):>9}  {until:>13}  {cost['density'] / 1e9:>10.3g}  "
            f"{cost['implementation'] / 1e9:>9.3g}  {difference['outputs']:>14.1e}  {difference['gradients']:>15.1e}"
        )
    if result["yardstick"]:
        yield from measured_lines(kinds)
    yield ""
    for facts in kinds.values():
        yield textwrap.fill(facts["say"], WIDTH, subsequent_indent="  ")


def measured_lines(kinds: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Time and memory at each length."""
    yield ""
    yield "kind        tokens     milliseconds (quartiles)   of full attention (quartiles)    peak MB"
    for kind, facts in kinds.items():
        for at in facts["measured"]:
            took = at["milliseconds"]
            span = f"{took['median']:.3g} ({took['low']:.3g} to {took['high']:.3g})"
            note = f"{ratio_text(at['ratio'])}"
            slow = "  slower" if kind != "full" and verdict(at["ratio"]) == "slower" else ""
            yield f"{kind:9}{at['length']:>9,}  {span:>27}  {note:>30}  {at['bytes'] / 1e6:>9.3g}{slow}"
