"""A tiny SMILES reader for organic subset molecules, so that the demo works without rdkit."""
from typing import Dict, List, Tuple

try:
    from rdkit import Chem
except ImportError:
    Chem = None

ATOMS = {"C": 1, "N": 2, "O": 3, "F": 4, "S": 5, "P": 6, "Cl": 7, "Br": 8, "I": 9, "c": 10, "n": 11, "o": 12, "s": 13}
BONDS = {"-": 1, "=": 2, "#": 3, ":": 4}


def parse(smiles: str) -> Dict[str, list]:
    if Chem is not None:
        return _with_rdkit(smiles)
    nodes: List[int] = []
    edges: List[Tuple[int, int, int]] = []
    stack: List[int] = []
    rings: Dict[str, Tuple[int, int]] = {}
    prev, bond, i = None, 0, 0
    while i < len(smiles):
        two = smiles[i : i + 2]
        ch = two if two in ATOMS else smiles[i]
        if ch in ATOMS:
            nodes.append(ATOMS[ch])
            if prev is not None:
                kind = bond or (4 if ch.islower() and smiles[i - 1].islower() else 1)
                edges.append((prev, len(nodes) - 1, kind))
            prev, bond = len(nodes) - 1, 0
        elif ch in BONDS:
            bond = BONDS[ch]
        elif ch == "(":
            stack.append(prev)
        elif ch == ")":
            prev = stack.pop()
        elif ch.isdigit():
            if ch in rings:
                other, kind = rings.pop(ch)
                edges.append((other, prev, bond or kind or 1))
            else:
                rings[ch] = (prev, bond)
            bond = 0
        else:
            raise ValueError(f"cannot read {ch!r} in {smiles!r}")
        i += len(ch)
    return _both_ways(nodes, edges)


def _both_ways(nodes, edges):
    src = [a for a, b, _ in edges] + [b for a, b, _ in edges]
    dst = [b for a, b, _ in edges] + [a for a, b, _ in edges]
    attr = [k for *_, k in edges] * 2
    return {"node_feat": nodes, "edge_index": [src, dst], "edge_attr": attr}


def _with_rdkit(smiles):
    mol = Chem.MolFromSmiles(smiles)
    nodes = [ATOMS.get(a.GetSymbol(), 0) for a in mol.GetAtoms()]
    edges = [(b.GetBeginAtomIdx(), b.GetEndAtomIdx(), min(int(b.GetBondTypeAsDouble() + 0.5), 4)) for b in mol.GetBonds()]
    return _both_ways(nodes, edges)
