"""P52: settings of generate that GenerationConfig.validate refuses, so that some releases cannot save the model.

Settings of sampling do nothing without do_sample. validate of generation/configuration_utils.py warns, and raises
where it is strict, which saving is in some releases (the laboratory's P52 cases).
"""

from collections.abc import Iterator

from pinfold.audit.finding import Finding
from pinfold.audit.ranges import harmed
from pinfold.audit.reachable import ReachableCode
from pinfold.audit.rules.generation import generates, writes_text

# Settings of sampling that validate looks at, and what they are where nobody sets them.
OF_SAMPLING = {
    **dict.fromkeys(("temperature", "top_p", "typical_p"), 1.0),
    "top_k": 50,
    "min_p": None,
    **dict.fromkeys(("epsilon_cutoff", "eta_cutoff"), 0.0),
}
FILES = {"generation_config.json": "P52.samples_not_in_file", "config.json": "P52.samples_not_in_config"}


def samples_without_saying_so(code: ReachableCode) -> Iterator[Finding]:
    """P52: settings of sampling in a file that does not set do_sample."""
    if not any(generates(code, cls) or writes_text(code, cls) for cls in code.models):
        return
    file = next((name for name in FILES if name in code.configs), "")
    settings = code.configs.get(file, {})
    names = [n for n, usual in OF_SAMPLING.items() if n in settings and settings[n] not in (None, usual)]
    if names and settings.get("do_sample") is not True and (affected := harmed(FILES[file], code.lowest_version)):
        yield Finding(
            "P52",
            f"{file}: {' and '.join(names)} without do_sample: true, which transformers refuses to save.",
            file,
            fix='Add "do_sample": true, or take them out.',
            releases=affected,
            case=FILES[file],
        )
