"""The convolutional part: reassemble, fuse, and read the depth off."""
import torch
import torch.nn.functional as F
from torch import nn


class ReassembleLayer(nn.Module):
    def __init__(self, config, channels, factor):
        super().__init__()
        self.projection = nn.Conv2d(config.hidden_size, channels, kernel_size=1)
        if factor > 1:
            self.resize = nn.ConvTranspose2d(channels, channels, kernel_size=int(factor), stride=int(factor), padding=0)
        elif factor == 1:
            self.resize = nn.Identity()
        else:
            self.resize = nn.Conv2d(channels, channels, kernel_size=3, stride=int(1 / factor), padding=1)

    def forward(self, x):
        return self.resize(self.projection(x))


class PreActResidual(nn.Module):
    def __init__(self, config):
        super().__init__()
        c = config.fusion_hidden_size
        self.use_batch_norm = config.use_batch_norm_in_fusion_residual
        self.convolution1 = nn.Conv2d(c, c, kernel_size=3, padding=1, bias=not self.use_batch_norm)
        self.convolution2 = nn.Conv2d(c, c, kernel_size=3, padding=1, bias=not self.use_batch_norm)
        if self.use_batch_norm:
            self.batch_norm1 = nn.BatchNorm2d(c)
            self.batch_norm2 = nn.BatchNorm2d(c)

    def forward(self, x):
        y = self.convolution1(F.relu(x))
        if self.use_batch_norm:
            y = self.batch_norm1(y)
        y = self.convolution2(F.relu(y))
        if self.use_batch_norm:
            y = self.batch_norm2(y)
        return x + y


class FusionLayer(nn.Module):
    def __init__(self, config, align_corners=True):
        super().__init__()
        self.align_corners = align_corners
        self.projection = nn.Conv2d(config.fusion_hidden_size, config.fusion_hidden_size, kernel_size=1)
        self.residual_layer1 = PreActResidual(config)
        self.residual_layer2 = PreActResidual(config)

    def forward(self, x, residual=None, size=None):
        if residual is not None:
            if residual.shape[-2:] != x.shape[-2:]:
                residual = F.interpolate(residual, size=x.shape[-2:], mode="bilinear", align_corners=False)
            x = x + self.residual_layer1(residual)
        x = self.residual_layer2(x)
        kw = {"scale_factor": 2} if size is None else {"size": size}
        x = F.interpolate(x, **kw, mode="bilinear", align_corners=self.align_corners)
        return self.projection(x)


class Neck(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.reassemble = nn.ModuleList(
            [ReassembleLayer(config, c, f) for c, f in zip(config.neck_hidden_sizes, config.reassemble_factors)]
        )
        self.convs = nn.ModuleList(
            [nn.Conv2d(c, config.fusion_hidden_size, kernel_size=3, padding=1, bias=False) for c in config.neck_hidden_sizes]
        )
        self.fusion = nn.ModuleList([FusionLayer(config) for _ in config.neck_hidden_sizes])

    def forward(self, hidden_states, patch_height, patch_width):
        feats = []
        for layer, conv, h in zip(self.reassemble, self.convs, hidden_states):
            h = h[:, 1:]
            b, _, c = h.shape
            h = h.reshape(b, patch_height, patch_width, c).permute(0, 3, 1, 2).contiguous()
            feats.append(conv(layer(h)))
        feats = feats[::-1]
        fused, out = None, []
        for i, (f, layer) in enumerate(zip(feats, self.fusion)):
            size = feats[i + 1].shape[2:] if i + 1 < len(feats) else None
            fused = layer(f, size=size) if fused is None else layer(fused, f, size=size)
            out.append(fused)
        return out


class DepthHead(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        c = config.fusion_hidden_size
        self.head_in_index = config.head_in_index
        self.metric = config.depth_estimation_type == "metric"
        n_out = config.num_bins if self.metric else 1
        self.conv1 = nn.Conv2d(c, c // 2, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(c // 2, config.head_hidden_size, kernel_size=3, padding=1)
        self.conv3 = nn.Conv2d(config.head_hidden_size, n_out, kernel_size=1)
        if self.metric:
            # centres of the bins, log-spaced between 10 cm and the largest depth
            edges = torch.logspace(-1, float(torch.tensor(config.max_depth).log10()), config.num_bins + 1)
            self.register_buffer("bin_centers", (edges[:-1] + edges[1:]) / 2, persistent=False)

    def forward(self, feats, out_size):
        x = self.conv1(feats[self.head_in_index])
        x = F.interpolate(x, out_size, mode="bilinear", align_corners=True)
        x = self.conv3(F.relu(self.conv2(x)))
        if not self.metric:
            return F.relu(x).squeeze(1)
        p = x.softmax(dim=1)
        return (p * self.bin_centers.view(1, -1, 1, 1).to(p.dtype)).sum(dim=1)
