"""The live check of a drawing: problems, warnings, and what it would cost."""

from typing import Any

from pinfold.builder.cost.totals import costs
from pinfold.builder.drawing.problems import problems, refused, warnings
from pinfold.builder.drawing.shapes import shapes
from pinfold.builder.drawing.state import read_state


def check(request: dict[str, Any]) -> dict[str, Any]:
    """The answer to POST /api/check.

    Args:
        request: "state", "batch", "length"; "shapes": whether to run a forward on the meta device; "number", which
            comes back, so that a late answer is known as one.

    Raises:
        UserError: the state is not a drawing.
    """
    drawing = read_state(request.get("state"))
    batch, length = request.get("batch", 1), request.get("length", 128)
    listed = problems(drawing, batch, length)
    answer: dict[str, Any] = {
        "number": request.get("number"),
        "ok": not listed,
        "problems": [problem.as_json() for problem in listed],
        "warnings": [],
        "costs": None,
        "rows": [],
    }
    if listed:
        return answer
    answer["warnings"] = [warning.as_json() for warning in warnings(drawing, length)]
    seen = costs(drawing.architecture, drawing.config, drawing.main, batch, length)
    try:
        by_row = shapes(drawing, seen.rows, batch, length) if request.get("shapes") else {}
    except Exception as error:  # a key that is kept can ask for what this machine does not have
        return {**answer, "ok": False, "warnings": [], "problems": [refused(drawing, error).as_json()]}
    answer["costs"] = {
        "parameters": seen.parameters, "flops": seen.flops, "useful_flops": seen.useful_flops,
        "density": list(seen.density),
        "memory": {"inference": seen.memory.inference, "training": seen.memory.training},
    }  # fmt: skip
    answer["rows"] = [
        {"slot": row.slot, "layer": row.layer, "name": row.name, "parameters": row.parameters, "flops": row.flops,
         "shape": by_row.get(row.name)}
        for row in seen.rows
    ]  # fmt: skip
    return answer
