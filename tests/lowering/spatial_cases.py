"""Transposed convolutions, pooling, resizing and sampling, in the modes that need more than one kernel."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own convention

from tests.lowering.case import case, randn, weight

__all__ = ["CASES"]

IMAGE = randn(2, 4, 11, 10)
SMALL = randn(2, 3, 6, 5)
LINE = randn(2, 4, 11)
VOLUME = randn(1, 2, 6, 9, 8)
GRID = randn(2, 4, 7, 2) * 0.8
NHW = ({0: "N", 2: "H", 3: "W"},)
NEVEN = ({0: "N", 2: "2*H", 3: "2*W"},)

CASES = [
    *(
        case(f"conv_transpose{axes}d k{k} s{s} p{p} o{o} d{d}",
             lambda x, n=axes, k=k, s=s, p=p, o=o, d=d: getattr(F, f"conv_transpose{n}d")(
                 x, weight(4, 5, *([k] * n)), weight(5), s, p, o, dilation=d),
             {1: LINE, 2: IMAGE, 3: randn(1, 4, 3, 4, 5)}[axes])
        for axes in (1, 2, 3)
        for k, s, p, o, d in ((4, 2, 1, 0, 1), (3, 2, 1, 1, 1), (2, 3, 0, 1, 1), (3, 1, 2, 0, 2), (1, 2, 0, 1, 1))
    ),
    case("conv_transpose2d dynamic", lambda x: F.relu(F.conv_transpose2d(x, weight(4, 5, 4, 4), weight(5), 2, 1)),
         IMAGE, dynamic=NHW),
    case("conv_transpose2d no batch", lambda x: F.conv_transpose2d(x, weight(4, 5, 2, 2), stride=2), IMAGE[0]),
    case("conv_transpose3d groups", lambda x: F.conv_transpose3d(x, weight(2, 3, 2, 2, 2), stride=2, groups=2), VOLUME),
    case("conv2d dynamic", lambda x: F.conv2d(x, weight(6, 4, 3, 3), weight(6), 2, 1), IMAGE, dynamic=NHW),
    case("batch norm behind dynamic sizes", lambda x: F.relu(F.batch_norm(F.conv2d(F.max_pool2d(
        F.conv2d(x, weight(4, 4, 3, 3), None, 2, 1), 3, 2, 1), weight(6, 4, 3, 3), None, 2, 1),
        weight(6), weight(6).abs() + 1)), randn(2, 4, 32, 32), dynamic=NHW),
    case("batch norm on its own", lambda x: F.batch_norm(F.relu(x), weight(4), weight(4).abs() + 1, weight(4), weight(4)),
         IMAGE, dynamic=NHW),
    case("batch norm behind a transposed convolution", lambda x: F.batch_norm(F.conv_transpose2d(
        x, weight(4, 6, 3, 3), weight(6), 2), weight(6), weight(6).abs() + 1, weight(6), weight(6)), IMAGE),
    case("batch norm behind groups", lambda x: F.batch_norm(F.conv_transpose2d(
        x, weight(4, 3, 3, 3), None, 2, groups=2), weight(6), weight(6).abs() + 1), IMAGE),
    case("batch norm in training mode", lambda x: F.batch_norm(x, None, None, weight(4), training=True), IMAGE),
    case("local response norm", lambda x: F.local_response_norm(x, 3), IMAGE),
    case("bilinear layer", lambda x, y: F.bilinear(x, y, weight(5, 3, 4), weight(5)), randn(2, 3), randn(2, 4)),
    *(
        case(f"max_pool{axes}d dilated", lambda x, n=axes: getattr(F, f"max_pool{n}d")(x, 2, 2, 1, 2),
             {1: LINE, 2: IMAGE, 3: VOLUME}[axes])
        for axes in (1, 2, 3)
    ),
    case("max_pool3d", lambda x: (F.max_pool3d(x, 3, 2, 1, ceil_mode=True), F.max_pool3d(x, (1, 2, 2))), VOLUME),
    case("avg_pool3d", lambda x: (F.avg_pool3d(x, 3, 2, 1), F.avg_pool3d(x, (2, 1, 1))), VOLUME),
    case("avg_pool3d uncounted", lambda x: F.avg_pool3d(x, 3, 2, 1, count_include_pad=False), VOLUME),
    case("avg_pool2d divisor", lambda x: F.avg_pool2d(x, 3, 2, 1, divisor_override=2), IMAGE),
    case("avg_pool2d dynamic", lambda x: (F.avg_pool2d(x, 3, 2, 1), F.avg_pool2d(x, 3, divisor_override=2)), IMAGE,
         dynamic=NHW),
    case("avg_pool2d uncounted dynamic", lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False), IMAGE,
         dynamic=NHW),
    case("max_pool2d dilated dynamic", lambda x: F.max_pool2d(x, 3, 2, 1, 2), IMAGE, dynamic=NHW),
    case("adaptive 3d", lambda x: (F.adaptive_avg_pool3d(x, (2, 3, 2)), F.adaptive_max_pool3d(x, 2)), VOLUME),
    case("adaptive to one dynamic", lambda x: (F.adaptive_max_pool2d(x, 1), F.adaptive_avg_pool2d(x, (1, None))),
         IMAGE, dynamic=NHW),
    case("adaptive dynamic", lambda x: (F.adaptive_avg_pool2d(x, (2, 3)), F.adaptive_max_pool2d(x, 2)), IMAGE,
         dynamic=NHW),
    case("adaptive even dynamic", lambda x: F.adaptive_avg_pool2d(x, 2), randn(2, 3, 12, 10), dynamic=NEVEN),
    *(
        case(f"{mode} {what}", lambda x, m=mode, o=options: F.interpolate(x, mode=m, **o), SMALL)
        for mode in ("nearest", "nearest-exact", "bilinear", "bicubic", "area")
        for what, options in {"size": {"size": (9, 13)}, "scaled": {"scale_factor": 1.7},
                              "halved": {"scale_factor": 0.5}}.items()
    ),
    *(
        case(f"{mode} dynamic {scale}", lambda x, m=mode, s=scale: F.interpolate(x, scale_factor=s, mode=m), SMALL,
             dynamic=NHW)
        for mode, scale in (("nearest", 2), ("nearest", 0.5), ("nearest-exact", 2), ("bilinear", 2),
                            ("bilinear", 0.5), ("area", 2))
    ),
    *(
        case(f"{mode} dynamic, of any scale {scale}", lambda x, m=mode, s=scale: F.interpolate(x, scale_factor=s, mode=m),
             SMALL, dynamic=NHW)
        for mode in ("nearest", "nearest-exact", "bilinear", "bicubic")
        for scale in (1.7, 0.6)
    ),
    *(
        case(f"bicubic dynamic to {size}, corners={corners}",
             lambda x, s=size, c=corners: F.interpolate(x, s, mode="bicubic", align_corners=c), SMALL, dynamic=NHW)
        for size in ((9, 13), (3, 1))
        for corners in (False, True)
    ),
    case("bicubic dynamic to dynamic", lambda x: F.interpolate(x, (x.shape[2] * 2, x.shape[3] + 1), mode="bicubic"),
         SMALL, dynamic=NHW),
    *(
        case(f"{mode} antialiased dynamic {scale}",
             lambda x, m=mode, s=scale: F.interpolate(x, scale_factor=s, mode=m, antialias=True), SMALL, dynamic=NHW)
        for mode in ("bilinear", "bicubic")
        for scale in (0.5, 0.4, 1.5)
    ),
    case("bicubic antialiased dynamic to static",
         lambda x: F.interpolate(x, (3, 4), mode="bicubic", antialias=True), SMALL, dynamic=NHW),
    case("bilinear to one row", lambda x: F.interpolate(x, (1, 7), mode="bilinear", align_corners=True), SMALL),
    *(
        case(f"{mode} antialiased", lambda x, m=mode: F.interpolate(x, (4, 3), mode=m, antialias=True), SMALL)
        for mode in ("bilinear", "bicubic")
    ),
    *(
        case(f"{mode} of a line", lambda x, m=mode: F.interpolate(x, scale_factor=2, mode=m), LINE,
             dynamic=({0: "N", 2: "T"},))
        for mode in ("nearest", "nearest-exact", "linear")
    ),
    *(
        case(f"{mode} of a volume", lambda x, m=mode: F.interpolate(x, scale_factor=2, mode=m), randn(1, 2, 3, 4, 5))
        for mode in ("nearest", "trilinear", "area")
    ),
    *(
        case(f"grid_sample {mode} {padding} corners={corners}",
             lambda x, g, m=mode, p=padding, c=corners: F.grid_sample(
                 x, g, mode=m, padding_mode=p, align_corners=c), SMALL, GRID)
        for mode in ("bilinear", "nearest", "bicubic")
        for padding in ("zeros", "border", "reflection")
        for corners in (False, True)
    ),
    case("grid_sample dynamic", lambda x, g: F.grid_sample(x, g, align_corners=False), SMALL, GRID,
         dynamic=({0: "N", 2: "H", 3: "W"}, {0: "N", 1: "A", 2: "B"})),
    case("grid_sample of a volume", lambda x, g: F.grid_sample(x, g, align_corners=True), randn(1, 2, 4, 5, 6),
         torch.rand(1, 3, 4, 2, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1),
    case("affine_grid", lambda t: F.affine_grid(t, [1, 3, 5, 6], align_corners=False), randn(1, 2, 3)),
]  # fmt: skip
