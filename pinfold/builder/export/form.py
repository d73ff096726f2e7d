"""Any model folder as a form: its configuration's fields, with the same check, run and export.

How it works:
- The audit is shown first, and its code runs in the sandbox alone.
- The fields are the constructor's arguments that a new configuration, or the folder's config.json, has as JSON.
- Costs come from a forward on the meta device, or a real one (``pinfold summarize``), so that a check takes seconds.
- An export is a copy of the folder's code with the form's config.json and new weights, proven like a drawing.
"""

import itertools
import json
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pinfold.audit.examine import examine
from pinfold.audit.finding import errors
from pinfold.builder.drawing.fields import BATCH
from pinfold.builder.drawing.problems import MODEL_TYPE
from pinfold.builder.drawing.schema import RUN_LENGTH, RUN_PARAMETERS
from pinfold.builder.export.export import REPORT, check_replaceable, check_room, finish, new_report, prove, timed
from pinfold.builder.export.run import REPEATS, Say, built, result_of, step
from pinfold.common.errors import UserError, printable
from pinfold.common.files import write_json
from pinfold.fence import process as fence
from pinfold.folder.model_folder import ModelFolder
from pinfold.staging.checkpoint import find_weights
from pinfold.summarize.run import Options, summarize
from pinfold.summarize.source import Source, local_source

KINDS = {bool: "truth", int: "integer", float: "number", str: "text"}
MOST = 10**12  # of a number, where nothing says how large it may be
SECONDS = 60  # of a check: a number that is still being typed can ask for a huge model
DEEP = 2  # rows of the summary are modules with as many dots in their name


@dataclass(frozen=True)
class Form:
    """A model folder that is open.

    Args:
        source: where its model comes from. fields: name -> value, as a new configuration or config.json has it.
        takes_length: whether rows can be of any length, as those of tokens are.
        meta: whether its forward runs without numbers, which costs no memory.
    """

    source: Source
    code: ModelFolder
    fields: dict[str, Any]
    takes_length: bool = True
    meta: bool = True

    @property
    def models(self) -> dict[str, str]:
        return self.source.models()

    def schema(self, common: dict[str, Any]) -> dict[str, Any]:
        """What the page is drawn from, with this form in front."""
        name = self.code.path.resolve().name
        main, _ = self.source.chosen(None)
        heads = [main, *(auto for auto in self.models if auto != main)]
        form = {
            "title": f"{name} (form)",
            "text": f"The configuration of {name}, field by field. Its code runs in the sandbox.",
            "default": {
                "architecture": "folder", "prefix": "", "model_type": output_name(name), "heads": [main],
                "config": self.fields, "unknown": {},
            },
            "rows": [], "sizes": list(self.fields), "attention": [], "more": [], "palette": [], "presets": [],
            "fields": {field: kind_of(field, value) for field, value in self.fields.items()},
            "heads": [{"auto": auto, "label": auto, "help": self.models[auto], "fields": []} for auto in heads],
        }  # fmt: skip
        return {"start": "folder", "architectures": {"folder": form, **common["architectures"]}}

    def read(self, request: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
        """The head, the folder's name and the fields that the page sent.

        Raises:
            UserError: it is not a state of this form.
        """
        state = request.get("state")
        config = state.get("config") if isinstance(state, dict) else None
        if not isinstance(state, dict) or not isinstance(config, dict) or set(config) != set(self.fields):
            raise UserError("these are not the fields of this folder's configuration; load the page again")
        heads = state.get("heads")
        if not isinstance(heads, list) or len(heads) != 1 or heads[0] not in self.models:
            raise UserError(f"choose one head of {', '.join(self.models)}")
        if not MODEL_TYPE.fullmatch(str(state.get("model_type"))):
            raise UserError("the name of the new folder has to be small letters, digits and _, such as my_model")
        return heads[0], state["model_type"], config

    def check(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to POST /api/check, from a forward without numbers.

        Raises:
            UserError: the request is not of this form.
        """
        head, _, config = self.read(request)
        answer: dict[str, Any] = {"number": request.get("number"), "warnings": [], "costs": None, "rows": []}
        length = request.get("length") if self.takes_length else None
        options = Options(head, request.get("batch"), length, meta=self.meta, seconds=SECONDS)
        try:
            seen = self._summary(options, config)
        except UserError as error:
            say = str(error)
            field = next((name for name in sorted(self.fields, key=len, reverse=True) if name in say), "")
            problem = {"field": field, "layer": None, "slot": "sizes", "say": say, "cure": "Change it."}
            return {**answer, "ok": False, "problems": [problem]}
        whole = seen["modules"][0]
        kept = whole["saved"] or 0
        rows = [each for each in seen["modules"][1:] if "same_as" not in each and each["name"].count(".") < DEEP]
        return {
            **answer, "ok": True, "problems": [],
            "costs": {
                "parameters": whole["parameters"], "flops": whole["flops"], "useful_flops": None, "density": [],
                "memory": {
                    "inference": whole["weights"],
                    "training": whole["weights"] + kept + whole["gradients"] + whole["optimizer"],
                },
            },
            "rows": [
                {"slot": "layers", "layer": None, "name": each["name"], "parameters": each["parameters"],
                 "flops": each["flops"], "shape": shape_of(each["shape"])}
                for each in rows
            ],
        }  # fmt: skip

    def run(self, request: dict[str, Any], say: Say) -> dict[str, Any]:
        """One forward in the sandbox.

        Raises:
            UserError: it cannot be built or run, or is too large.
        """
        head, _, config = self.read(request)
        batch, length = request.get("batch", 1), request.get("length", 128)
        for value, what, most in ((length, "length", RUN_LENGTH), (batch, "batch", BATCH)):
            if type(value) is not int or not 1 <= value <= most:
                raise UserError(f"{what} {value!r} cannot be run from this page; give 1 to {most}")
        length = length if self.takes_length else None
        answer = self.check(request)
        if not answer["ok"]:
            raise UserError(answer["problems"][0]["say"])
        if answer["costs"]["parameters"] > RUN_PARAMETERS:
            raise UserError(
                f"the model has more than the {RUN_PARAMETERS:,} parameters that this page runs; export it"
            )
        step(say, "run", "built in a process of its own, then run")
        names = [row["name"] for row in answer["rows"]]
        wanted = {"batch": batch, "length": length, "repeats": REPEATS, "rows": names}
        with tempfile.TemporaryDirectory(prefix="pinfold-") as temporary:
            seen = built(self.code.path, self.models[head], config, Path(temporary), wanted=wanted)
        step(say, "run", f"ran {REPEATS} times", "done")
        return result_of(seen, batch, length)

    def export(self, request: dict[str, Any], output: Path, say: Say) -> dict[str, Any]:
        """A copy of the folder with this configuration and new weights, proven.

        Raises:
            UserError: a check failed; nothing is there then that was not there before.
        """
        head, name, config = self.read(request)
        target = output / name
        check_replaceable(target)
        answer = self.check({**request, "batch": 1, "length": None})
        if not answer["ok"]:
            raise UserError(answer["problems"][0]["say"])
        output.mkdir(parents=True, exist_ok=True)
        check_room(answer["costs"]["parameters"], output)
        with tempfile.TemporaryDirectory(prefix=".builder-", dir=output.resolve()) as temporary:
            work = Path(temporary)
            folder = work / name
            report = new_report(request["state"])
            with timed(say, report, "write", "a copy of the folder's code") as done:
                copy_code(self.code.path, folder)
                done("copied")
            with timed(say, report, "weights", "new weights from seed 0") as done:
                saved = work / "saved"
                saved.mkdir()
                seen = built(folder, self.models[head], config, work, saved)
                for path in saved.iterdir():
                    shutil.move(str(path), folder / path.name)
                done(f"{seen['parameters']:,} parameters drawn from seed 0")
            stored = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            entries = {"AutoConfig": self.code.auto_map()["AutoConfig"], **self.models}
            write_json(folder / "config.json", {**stored, "auto_map": entries})
            prove(folder, work, say, report)
            finish(folder, target, work, report, seen)
        return {"folder": str(target), "report": report}

    def _summary(self, options: Options, config: dict[str, Any]) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="pinfold-") as temporary:
            source = Source(self.source.name, self.code, None, None, [])
            return summarize(source, options, config, Path(temporary))


def open_form(path: Path, run: bool) -> Form:
    """Show the audit of a folder, and read the fields of its configuration in the sandbox.

    Raises:
        UserError: it is not a model folder, --run is missing, or its code is not run here.
    """
    if not path.is_dir():
        raise UserError(f"{path}: no such folder; give one with configuration_*.py and modeling_*.py")
    source = local_source(path, None)
    if source.code is None or "AutoConfig" not in source.code.auto_map() or not source.models():
        raise UserError(
            f"{path}: no configuration is registered there; end its file with MyConfig.register_for_auto_class()"
        )
    report = examine(path, str(path))
    for line in report.lines():
        print(printable(line), flush=True)
    if not run:
        raise UserError(f"{path} is opened by running its code in the sandbox; read its audit above, then add --run")
    fence.permit(str(path), next((f.code for f in errors(report.findings) if f.code.startswith("S")), None))
    _, place = source.chosen(None)
    with tempfile.TemporaryDirectory(prefix="pinfold-") as temporary:
        seen = built(source.code.path, place, {}, Path(temporary), describe=True)
    stored = source.stored or {}
    fields = {name: stored.get(name, value) for name, value in seen["fields"].items()}
    form = Form(source, source.code, fields)
    state = form.schema({"architectures": {}})["architectures"]["folder"]["default"]
    for meta, length in itertools.product((True, False), (8, None)):
        tried = replace(form, takes_length=length is not None, meta=meta)
        if tried.check({"state": state, "batch": 1, "length": length})["ok"]:
            return tried
    return form  # its own defaults do not run: the page says why


def kind_of(name: str, value: Any) -> dict[str, Any]:
    """How the page shows a field: by the type of its value, as nothing else is known of a stranger's."""
    kind = KINDS.get(type(value), "list")
    field = {"kind": kind, "label": name, "help": "", "none": value is None}
    return {**field, "least": -MOST, "most": MOST} if kind in ("integer", "number") else field


def output_name(name: str) -> str:
    plain = "".join(c if c.isascii() and c.isalnum() else "_" for c in name.lower()).strip("_")
    return plain if MODEL_TYPE.fullmatch(plain) else "my_model"


def shape_of(shapes: Any) -> list[int] | None:
    """A module's first output; the summary has a list of shapes where there are several."""
    while isinstance(shapes, list) and shapes and isinstance(shapes[0], list):
        shapes = shapes[0]
    return shapes if isinstance(shapes, list) and all(isinstance(n, int) for n in shapes) else None


def copy_code(source: Path, target: Path) -> None:
    """Everything of a folder but its weights, its settings and what an earlier export said."""
    weights = {path.name for path in find_weights(source)} if list(source.glob("*.safetensors*")) else set()
    left = {*weights, "config.json", REPORT, "model.safetensors.index.json", "__pycache__", ".git"}
    shutil.copytree(source, target, ignore=lambda directory, names: left & set(names), symlinks=False)
