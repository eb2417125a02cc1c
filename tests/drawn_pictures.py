"""Small networks over pictures (1, C, H, W) drawn from a seed: every geometry of convolutions, pools, residuals."""

from dataclasses import dataclass

import numpy as np

from . import drawn


@dataclass
class Picture(drawn.Net):
    """A graph while it is drawn; `now` is the newest tensor, of `channels` by `size`."""

    size: tuple = (0, 0)

    def whole(self, low, high):
        """A whole number, low ... high."""
        return int(self.rng.integers(low, high + 1))

    def model(self, shape):
        """The checked model of an input of that shape; its output is `now`."""
        return drawn._model(self.nodes, self.constants, self.now, shape)  # noqa: SLF001 - the same nets, drawn otherwise

    def chance(self, of=2):
        return self.whole(1, of) == 1

    def pair(self, low, high):
        return [self.whole(low, high), self.whole(low, high)]


def network(seed):
    """A model (1, C, H, W) -> (1, 2) of one to five blocks."""
    rng = np.random.default_rng(seed)
    net = Picture(rng, two_axes=True, first_time=0, channels=int(rng.integers(1, 5)))
    net.size = first = tuple(net.pair(4, 14))
    shape = (1, net.channels, *first)
    for _ in range(net.whole(1, 5)):
        _BLOCKS[net.whole(0, len(_BLOCKS) - 1)](net)
    return with_head(net, shape)


def small():
    """3x3 kernels with strides, pads, groups, dilation and a residual, and a pointwise convolution."""
    net = Picture(np.random.default_rng(5), two_axes=True, first_time=0, channels=3, size=(24, 24))
    for outputs, more in ((16, {"strides": (2, 2)}), (16, {"groups": 4}), (16, {})):
        convolve(net, outputs, (3, 3), pads=(1, 1, 1, 1), **more)
        source = net.add("Relu", net.now)
    convolve(net, 16, (3, 3), pads=(2, 2, 2, 2), dilations=(2, 2))
    net.add("Add", net.now, source)
    convolve(net, 32, (1, 1))
    convolve(net, 24, (3, 3), pads=(1, 1, 1, 1), strides=(2, 1))
    return with_head(net, (1, 3, 24, 24))


def with_head(net, shape):
    """The checked model of an input of that shape, with a layer of two scores."""
    _head(net)
    return net.model(shape)


def convolve(net, outputs, taps, *, strides=(1, 1), dilations=(1, 1), pads=(0, 0, 0, 0), groups=1):
    """A convolution; where the picture is smaller than the kernel reaches, with more padding behind."""
    pads = list(pads)
    for axis in range(2):
        reach = (taps[axis] - 1) * dilations[axis] + 1
        pads[axis + 2] += max(0, reach - net.size[axis] - pads[axis] - pads[axis + 2])
    inputs = [net.now, net.normal(outputs, net.channels // groups, *taps)]
    inputs += [net.normal(outputs)] if net.chance() else []
    net.add("Conv", *inputs, strides=list(strides), dilations=list(dilations), pads=pads, group=groups)
    net.channels = outputs
    _resize(net, taps, strides, dilations, pads)


def _resize(net, taps, strides, dilations, pads):
    net.size = tuple(
        (net.size[i] + pads[i] + pads[i + 2] - (taps[i] - 1) * dilations[i] - 1) // strides[i] + 1 for i in range(2)
    )


def _then(net):
    """Perhaps a constant added per channel, a batch norm, an activation."""
    if net.chance(3):
        net.add("Add", net.now, net.normal(net.channels, 1, 1))
    if net.chance():
        drawn._norm(net)  # noqa: SLF001 - as above
    kind = net.whole(0, 4)
    if kind < 2:
        net.add(("Relu", "Sigmoid")[kind], net.now)
    elif kind == 2:
        net.add("Clip", net.now, np.float32(-0.5), np.float32(1.25))


def _conv(net):
    groups = net.whole(1, 3)
    groups = groups if net.channels % groups == 0 else 1
    outputs = groups * net.whole(1, 5)
    strides, dilations = net.pair(1, 3), net.pair(1, 2) if net.chance(3) else (1, 1)
    convolve(
        net,
        outputs,
        net.pair(1, 4),
        strides=strides,
        dilations=dilations,
        pads=net.pair(0, 2) + net.pair(0, 2),
        groups=groups,
    )
    _then(net)


def _pointwise(net):
    convolve(net, net.whole(1, 9), (1, 1))
    _then(net)


def _depthwise(net):
    outputs = net.channels * net.whole(1, 2)
    convolve(net, outputs, (3, 3), strides=net.pair(1, 2), pads=(1, 1, 1, 1), groups=net.channels)
    _then(net)


def _residual(net):
    source = net.now
    convolve(net, net.channels, (3, 3), pads=(1, 1, 1, 1))
    if net.chance():
        net.add("Relu", net.now)
    net.add("Add", *((net.now, source) if net.chance() else (source, net.now)))
    if net.chance():
        net.add("Relu", net.now)


def _pool(net):
    taps, strides = net.pair(1, 3), net.pair(1, 2)
    if min(size - k for size, k in zip(net.size, taps, strict=True)) < 0:
        return
    pads = [net.whole(0, k // 2) for k in (*taps, *taps)]
    op = ("MaxPool", "AveragePool")[net.whole(0, 1)]
    net.add(op, net.now, kernel_shape=taps, strides=strides, pads=pads)
    _resize(net, taps, strides, (1, 1), pads)


def _turn(net):
    """Height and width change places: a view, whose padding lies otherwise."""
    net.add("Transpose", net.now, perm=[0, 1, 3, 2])
    net.size = net.size[::-1]


def _branches(net):
    """Two convolutions of one tensor that want different room, joined."""
    source, channels, size = net.now, net.channels, net.size
    convolve(net, net.whole(1, 4), (3, 3), pads=(1, 1, 1, 1))
    one, more = net.now, net.channels
    net.now, net.channels, net.size = source, channels, size
    convolve(net, net.whole(1, 4), (1, 5), pads=(0, 2, 0, 2))
    net.add("Concat", one, net.now, axis=1)
    net.channels += more


def _head(net):
    kind = net.whole(0, 2)
    features = net.channels * (net.size[0] * net.size[1] if kind else 1)
    if kind == 0:
        net.add("GlobalAveragePool", net.now)
    net.add("Flatten", net.now)
    net.add("Gemm", net.now, net.normal(2, features), net.normal(2), transB=1)


_BLOCKS = (_conv, _conv, _conv, _pointwise, _depthwise, _residual, _pool, _turn, _branches)
