"""Codebook k is written k frames late."""
import torch


def delay(codes, pad):
    batch, books, frames = codes.shape
    out = codes.new_full((batch, books, frames + books - 1), pad)
    for k in range(books):
        out[:, k, k:k + frames] = codes[:, k]
    return out


def undelay(codes):
    books = codes.shape[1]
    frames = codes.shape[2] - books + 1
    return torch.stack([codes[:, k, k:k + frames] for k in range(books)], dim=1)
