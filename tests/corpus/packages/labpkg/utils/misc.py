from torch import nn
SCALE = 0.5
def default(a, b):
    return a if a is not None else b
