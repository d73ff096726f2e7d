"""Publish a model folder and its weights; ``push`` is the Python API of ``pinfold push``."""

from pinfold.push.api import push
from pinfold.push.steps import Published

__all__ = ["Published", "push"]
