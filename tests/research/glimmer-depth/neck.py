import torch
import torch.nn.functional as F
from torch import nn


class Reassemble(nn.Module):
    """Tokens of a stage to a map of its own size."""

    def __init__(self, dim, out, factor):
        super().__init__()
        self.projection = nn.Conv2d(dim, out, 1)
        if factor > 1:
            self.resize = nn.ConvTranspose2d(out, out, kernel_size=factor, stride=factor)
        elif factor == 1:
            self.resize = nn.Identity()
        else:
            self.resize = nn.Conv2d(out, out, 3, stride=int(1 / factor), padding=1)

    def forward(self, tokens, height, width):
        tokens = tokens[:, 1:]
        x = tokens.transpose(1, 2).reshape(tokens.shape[0], -1, height, width)
        return self.resize(self.projection(x))


class ResidualUnit(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.conv1 = nn.Conv2d(dim, dim, 3, padding=1)
        self.conv2 = nn.Conv2d(dim, dim, 3, padding=1)

    def forward(self, x):
        return x + self.conv2(F.relu(self.conv1(F.relu(x))))


class Fusion(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.unit1 = ResidualUnit(dim)
        self.unit2 = ResidualUnit(dim)
        self.projection = nn.Conv2d(dim, dim, 1)

    def forward(self, x, skip=None):
        if skip is not None:
            if x.shape != skip.shape:
                skip = F.interpolate(skip, size=x.shape[-2:], mode="bilinear", align_corners=False)
            x = x + self.unit1(skip)
        x = F.interpolate(self.unit2(x), scale_factor=2, mode="bilinear", align_corners=True)
        return self.projection(x)


class DepthNeck(nn.Module):
    def __init__(self, channels, dim):
        super().__init__()
        factors = [4, 2, 1, 0.5][: len(channels)]
        self.reassemble = nn.ModuleList([Reassemble(c, dim, f) for c, f in zip(channels, factors)])
        self.fusion = nn.ModuleList([Fusion(dim) for _ in channels])

    def forward(self, features, height, width):
        maps = [layer(f, height, width) for layer, f in zip(self.reassemble, features)]
        fused = None
        for feature, layer in zip(reversed(maps), self.fusion):
            fused = layer(feature) if fused is None else layer(fused, feature)
        return fused


class BinsHead(nn.Module):
    """Depth as a mean over bins that are even in the logarithm."""

    def __init__(self, dim, hidden, n_bins, low, high):
        super().__init__()
        self.conv1 = nn.Conv2d(dim, hidden, 3, padding=1)
        self.conv2 = nn.Conv2d(hidden, n_bins, 1)
        self.low, self.high, self.n_bins = low, high, n_bins

    def centers(self, like):
        span = torch.linspace(0, 1, self.n_bins, device=like.device, dtype=like.dtype)
        return self.low * (self.high / self.low) ** span

    def forward(self, x, size):
        x = F.relu(self.conv1(x))
        x = F.interpolate(x, size=size, mode="bilinear", align_corners=True)
        weights = self.conv2(x).softmax(dim=1)
        return (weights * self.centers(weights)[None, :, None, None]).sum(1)
