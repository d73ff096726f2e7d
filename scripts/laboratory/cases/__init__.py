"""What the laboratory loads: for each case a folder that is right everywhere, and the same with one fault in it.

A case's name is the rule that reports the fault and what is special about it. Text is exchanged in the sources of
sources.py; each exchange must fit exactly once, so that a case cannot lose its fault unseen.
"""

from cases import (
    buffers,
    changed_weights,
    classes,
    configuration,
    constructors,
    generation,
    imports,
    own_caches,
    own_methods,
    own_results,
    own_states,
    parts,
    stacks,
    steps,
    stock_code,
    stock_parts,
    stock_results,
    stored_order,
    ties,
    tokenizers,
    unused_caches,
    weights,
)
from cases.base import CASES, OF_FIXES, REMOVED, Case

# Each of these files adds its cases to the table.
SUBJECTS = (
    imports,
    constructors,
    ties,
    buffers,
    configuration,
    weights,
    changed_weights,
    generation,
    classes,
    tokenizers,
    stock_code,
    stock_parts,
    stock_results,
    own_caches,
    own_methods,
    own_results,
    own_states,
    parts,
    stacks,
    steps,
    stored_order,
    unused_caches,
)

__all__ = ["CASES", "OF_FIXES", "REMOVED", "SUBJECTS", "Case"]
