from .blocks import *
from . import norms
from .swin import SwinLayer
from .registry import build_layer
