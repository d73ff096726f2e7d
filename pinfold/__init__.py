"""Publish custom model architectures to the Hugging Face Hub: audited, verified, pinned."""

__version__ = "0.1.0"
