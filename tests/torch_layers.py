"""The layers of `torch.nn` that a classifier of signals can be made of, for `test_torch_layers`.

Left out are layers of text (Embedding, EmbeddingBag), losses, layers that no exporter of torch takes, and the names of
lazy layers, which are those of the others once they have seen an input.
"""

import torch
from torch import nn


class Called(nn.Module):
    """What `take` makes of an input and a layer's answer."""

    def __init__(self, layer, take):
        super().__init__()
        self.layer, self.take = layer, take

    def forward(self, x):
        """The answer."""
        return self.take(self.layer, x)


class Together(nn.Module):
    """Layers of one input, each of which gives an output."""

    def __init__(self, layers):
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x):
        """The answer of each."""
        return tuple(layer(x) for layer in self.layers)


def cell(layer):
    """A recurrence, and all that it gives in one row: its outputs and its last state."""

    def take(layer, x):
        out, state = layer(x)
        parts = [out, *(state if isinstance(state, tuple) else [state])]
        return torch.cat([part.flatten() for part in parts])[None]

    return Called(layer, take)


def last(layer):
    """The usual head of a recurrence: the last output."""
    return Called(layer, lambda layer, x: layer(x)[0][:, -1])


def itself(layer):
    """Attention of a signal to itself."""
    return Called(layer, lambda layer, x: layer(x, x, x)[0])


def halves(layer):
    """A layer of two inputs: the two halves of the channels."""
    return Called(layer, lambda layer, x: layer(*x.chunk(2, 1)))


def function(take):
    """A function."""
    return Called(nn.Identity(), lambda _, x: take(x))


def normed(layer):
    """A norm that has seen something, so that its parameters are not 0 and 1."""
    for values in (*layer.parameters(), *layer.buffers()):
        if values.is_floating_point():
            nn.init.uniform_(values, 0.5, 1.5)
    return layer


def batch_norm(kind, channels):
    """A BatchNorm of other statistics than 0 and 1."""
    return normed(kind(channels))


F = nn.functional

SIGNAL = {  # (1, 8, 20)
    "Conv1d": lambda: nn.Conv1d(8, 4, 5),
    "Conv1d strided": lambda: nn.Conv1d(8, 4, 5, stride=2, padding=2, bias=False),
    "Conv1d dilated": lambda: nn.Conv1d(8, 4, 3, padding=4, dilation=4),
    "Conv1d depthwise": lambda: nn.Conv1d(8, 16, 3, groups=8),
    "Conv1d grouped": lambda: nn.Conv1d(8, 6, 3, groups=2),
    "Conv1d same": lambda: nn.Conv1d(8, 4, 4, padding="same"),
    "Conv1d reflect": lambda: nn.Conv1d(8, 4, 5, padding=2, padding_mode="reflect"),
    "Conv1d replicate": lambda: nn.Conv1d(8, 4, 5, padding=2, padding_mode="replicate"),
    "Conv1d circular": lambda: nn.Conv1d(8, 4, 5, padding=2, padding_mode="circular"),
    "ConvTranspose1d": lambda: nn.ConvTranspose1d(8, 4, 5, 2, 1, 1),
    "ConvTranspose1d grouped": lambda: nn.ConvTranspose1d(8, 4, 3, 3, groups=2, dilation=2),
    "BatchNorm1d": lambda: batch_norm(nn.BatchNorm1d, 8),
    "BatchNorm1d plain": lambda: batch_norm(lambda n: nn.BatchNorm1d(n, affine=False), 8),
    "InstanceNorm1d": lambda: nn.InstanceNorm1d(8),
    "InstanceNorm1d affine": lambda: normed(nn.InstanceNorm1d(8, affine=True)),
    "InstanceNorm1d tracked": lambda: normed(nn.InstanceNorm1d(8, affine=True, track_running_stats=True)),
    "GroupNorm": lambda: normed(nn.GroupNorm(2, 8)),
    "GroupNorm plain": lambda: nn.GroupNorm(4, 8, affine=False),
    "LayerNorm": lambda: normed(nn.LayerNorm(20)),
    "LayerNorm of two axes": lambda: normed(nn.LayerNorm([8, 20])),
    "LayerNorm plain": lambda: nn.LayerNorm(20, elementwise_affine=False),
    "RMSNorm": lambda: normed(nn.RMSNorm(20)),
    "RMSNorm plain": lambda: nn.RMSNorm(20, elementwise_affine=False, eps=1e-5),
    "LocalResponseNorm": lambda: nn.LocalResponseNorm(3, 0.01),
    "AvgPool1d": lambda: nn.AvgPool1d(4),
    "AvgPool1d padded": lambda: nn.AvgPool1d(3, 2, 1, ceil_mode=True),
    "AvgPool1d uncounted": lambda: nn.AvgPool1d(3, 2, 1, count_include_pad=False),
    "MaxPool1d": lambda: nn.MaxPool1d(3, 2, 1),
    "MaxPool1d dilated": lambda: nn.MaxPool1d(3, 2, 1, dilation=2, ceil_mode=True),
    "LPPool1d": lambda: nn.LPPool1d(2, 3, 2),
    "AdaptiveAvgPool1d": lambda: nn.AdaptiveAvgPool1d(5),
    "AdaptiveAvgPool1d of one": lambda: nn.AdaptiveAvgPool1d(1),
    "AdaptiveMaxPool1d": lambda: nn.AdaptiveMaxPool1d(4),
    "AdaptiveMaxPool1d of one": lambda: nn.AdaptiveMaxPool1d(1),
    "ConstantPad1d": lambda: nn.ConstantPad1d((2, 1), 3.5),
    "ZeroPad1d": lambda: nn.ZeroPad1d((3, -1)),
    "ReflectionPad1d": lambda: nn.ReflectionPad1d((3, 2)),
    "ReplicationPad1d": lambda: nn.ReplicationPad1d((3, 2)),
    "CircularPad1d": lambda: nn.CircularPad1d((3, 2)),
    "Upsample": lambda: nn.Upsample(scale_factor=2),
    "Upsample to a size": lambda: nn.Upsample(33),
    "Upsample linear": lambda: nn.Upsample(scale_factor=1.5, mode="linear"),
    "Upsample by corners": lambda: nn.Upsample(scale_factor=2, mode="linear", align_corners=True),
    "Flatten": nn.Flatten,
    "Unflatten": lambda: nn.Unflatten(1, (2, 4)),
    "Identity": nn.Identity,
    "Dropout": nn.Dropout,
    "Dropout1d": nn.Dropout1d,
    "AlphaDropout": nn.AlphaDropout,
    "FeatureAlphaDropout": nn.FeatureAlphaDropout,
    "ChannelShuffle": lambda: nn.ChannelShuffle(2),
    "Linear": lambda: nn.Linear(20, 6),
    "Linear of one row": lambda: nn.Sequential(nn.Flatten(), nn.Linear(160, 6)),
    "Bilinear": lambda: halves(nn.Bilinear(20, 20, 3)),
    "CosineSimilarity": lambda: halves(nn.CosineSimilarity(1)),
    "PairwiseDistance": lambda: halves(nn.PairwiseDistance()),
    "Softmax": lambda: nn.Softmax(1),
    "Softmin": lambda: nn.Softmin(-1),
    "LogSoftmax": lambda: nn.LogSoftmax(-1),
    "CELU": lambda: nn.CELU(0.7),
    "ELU": lambda: nn.ELU(0.5),
    "GELU": nn.GELU,
    "GELU by tanh": lambda: nn.GELU("tanh"),
    "GLU": lambda: nn.GLU(1),
    "Hardshrink": nn.Hardshrink,
    "Hardsigmoid": nn.Hardsigmoid,
    "Hardswish": nn.Hardswish,
    "Hardtanh": lambda: nn.Hardtanh(-0.4, 0.8),
    "LeakyReLU": lambda: nn.LeakyReLU(0.2),
    "LogSigmoid": nn.LogSigmoid,
    "Mish": nn.Mish,
    "PReLU": lambda: nn.PReLU(8),
    "PReLU of one": nn.PReLU,
    "ReLU": nn.ReLU,
    "ReLU6": nn.ReLU6,
    "RReLU": nn.RReLU,
    "SELU": nn.SELU,
    "SiLU": nn.SiLU,
    "Sigmoid": nn.Sigmoid,
    "Softplus": lambda: nn.Softplus(2.0, 1.0),
    "Softshrink": nn.Softshrink,
    "Softsign": nn.Softsign,
    "Tanh": nn.Tanh,
    "Tanhshrink": nn.Tanhshrink,
    "Threshold": lambda: nn.Threshold(0.1, 0.5),
}

SEQUENCE = {  # (1, 12, 8)
    "RNN": lambda: cell(nn.RNN(8, 6, batch_first=True)),
    "RNN of ReLU": lambda: cell(nn.RNN(8, 6, 2, nonlinearity="relu", bias=False, batch_first=True)),
    "RNN both ways": lambda: cell(nn.RNN(8, 6, bidirectional=True, batch_first=True)),
    "LSTM": lambda: cell(nn.LSTM(8, 6, batch_first=True)),
    "LSTM both ways": lambda: cell(nn.LSTM(8, 6, 2, bidirectional=True, batch_first=True)),
    "LSTM without bias": lambda: cell(nn.LSTM(8, 6, bias=False, batch_first=True)),
    "LSTM of a batch": lambda: cell(nn.LSTM(8, 6)),
    "LSTM projected": lambda: cell(nn.LSTM(8, 6, proj_size=4, batch_first=True)),
    "LSTM of one row": lambda: Called(nn.LSTM(8, 6), lambda layer, x: layer(x[0])[0]),
    "LSTM last": lambda: last(nn.LSTM(8, 6, 3, batch_first=True, dropout=0.5)),
    "GRU": lambda: cell(nn.GRU(8, 6, batch_first=True)),
    "GRU both ways": lambda: cell(nn.GRU(8, 6, 2, bidirectional=True, batch_first=True)),
    "GRU without bias": lambda: cell(nn.GRU(8, 6, bias=False, batch_first=True)),
    "GRU last": lambda: last(nn.GRU(8, 6, batch_first=True)),
    "RNNCell": lambda: Called(nn.RNNCell(8, 6), lambda layer, x: layer(x[:, 0])),
    "LSTMCell": lambda: Called(nn.LSTMCell(8, 6), lambda layer, x: layer(x[:, 0])[0]),
    "GRUCell": lambda: Called(nn.GRUCell(8, 6), lambda layer, x: layer(x[:, 0])),
    "MultiheadAttention": lambda: itself(nn.MultiheadAttention(8, 2, batch_first=True)),
    "MultiheadAttention without weights": lambda: Called(
        nn.MultiheadAttention(8, 2, batch_first=True), lambda layer, x: layer(x, x, x, need_weights=False)[0]
    ),
    "MultiheadAttention of a batch": lambda: itself(nn.MultiheadAttention(8, 4, bias=False)),
    "TransformerEncoderLayer": lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
    "TransformerEncoderLayer of GELU": lambda: nn.TransformerEncoderLayer(
        8, 2, 16, activation="gelu", norm_first=True, batch_first=True
    ),
    "TransformerEncoder": lambda: nn.TransformerEncoder(
        nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2, nn.LayerNorm(8)
    ),
    "TransformerDecoderLayer": lambda: Called(
        nn.TransformerDecoderLayer(8, 2, 16, batch_first=True), lambda layer, x: layer(x, x)
    ),
    "scaled_dot_product_attention": lambda: function(lambda x: F.scaled_dot_product_attention(x, x, x)),
    "scaled_dot_product_attention causal": lambda: function(
        lambda x: F.scaled_dot_product_attention(*[x.reshape(1, 12, 2, 4).transpose(1, 2)] * 3, is_causal=True)
    ),
    "einsum": lambda: function(lambda x: torch.einsum("btc,bsc->bts", x, x)),
}

PICTURE = {  # (1, 8, 6, 10)
    "Conv2d": lambda: nn.Conv2d(8, 4, 3),
    "Conv2d strided": lambda: nn.Conv2d(8, 4, (3, 5), (2, 1), (1, 2), bias=False),
    "Conv2d dilated": lambda: nn.Conv2d(8, 4, 3, padding=2, dilation=2),
    "Conv2d depthwise": lambda: nn.Conv2d(8, 8, 3, padding=1, groups=8),
    "Conv2d same": lambda: nn.Conv2d(8, 4, (2, 3), padding="same"),
    "Conv2d reflect": lambda: nn.Conv2d(8, 4, 3, padding=1, padding_mode="reflect"),
    "Conv2d replicate": lambda: nn.Conv2d(8, 4, 3, padding=1, padding_mode="replicate"),
    "Conv2d circular": lambda: nn.Conv2d(8, 4, 3, padding=1, padding_mode="circular"),
    "ConvTranspose2d": lambda: nn.ConvTranspose2d(8, 4, 3, 2, 1, 1),
    "ConvTranspose2d grouped": lambda: nn.ConvTranspose2d(8, 4, (2, 3), (1, 2), groups=4),
    "BatchNorm2d": lambda: batch_norm(nn.BatchNorm2d, 8),
    "InstanceNorm2d": lambda: nn.InstanceNorm2d(8),
    "GroupNorm of a picture": lambda: normed(nn.GroupNorm(2, 8)),
    "LocalResponseNorm of a picture": lambda: nn.LocalResponseNorm(2),
    "AvgPool2d": lambda: nn.AvgPool2d(3, 2, 1, ceil_mode=True),
    "AvgPool2d divided": lambda: nn.AvgPool2d(2, divisor_override=3),
    "MaxPool2d": lambda: nn.MaxPool2d((2, 3), (2, 1), (1, 1)),
    "MaxPool2d ceiled": lambda: nn.MaxPool2d(3, 2, ceil_mode=True),
    "LPPool2d": lambda: nn.LPPool2d(2, 2),
    "AdaptiveAvgPool2d": lambda: nn.AdaptiveAvgPool2d((3, 5)),
    "AdaptiveAvgPool2d of one": lambda: nn.AdaptiveAvgPool2d(1),
    "AdaptiveMaxPool2d": lambda: nn.AdaptiveMaxPool2d((2, 5)),
    "AdaptiveMaxPool2d of one": lambda: nn.AdaptiveMaxPool2d(1),
    "ConstantPad2d": lambda: nn.ConstantPad2d((1, 2, 0, 3), -1.5),
    "ZeroPad2d": lambda: nn.ZeroPad2d(2),
    "ReflectionPad2d": lambda: nn.ReflectionPad2d((1, 2, 3, 0)),
    "ReplicationPad2d": lambda: nn.ReplicationPad2d(2),
    "CircularPad2d": lambda: nn.CircularPad2d((1, 2, 0, 1)),
    "Upsample of a picture": lambda: nn.Upsample(scale_factor=2),
    "Upsample bilinear": lambda: nn.Upsample(scale_factor=2, mode="bilinear"),
    "Upsample bicubic": lambda: nn.Upsample((8, 15), mode="bicubic"),
    "UpsamplingNearest2d": lambda: nn.UpsamplingNearest2d(scale_factor=3),
    "UpsamplingBilinear2d": lambda: nn.UpsamplingBilinear2d(scale_factor=2),
    "PixelShuffle": lambda: nn.PixelShuffle(2),
    "PixelUnshuffle": lambda: nn.PixelUnshuffle(2),
    "Dropout2d": nn.Dropout2d,
    "Softmax2d": nn.Softmax2d,
    "Unfold": lambda: nn.Unfold((2, 3), stride=(2, 1), padding=(0, 1)),
    "PReLU of a picture": lambda: nn.PReLU(8),
}

VOLUME = {  # (1, 4, 4, 6, 5)
    "Conv3d": lambda: nn.Conv3d(4, 3, 3, padding=1, stride=(1, 2, 1)),
    "Conv3d depthwise": lambda: nn.Conv3d(4, 4, 2, groups=4),
    "ConvTranspose3d": lambda: nn.ConvTranspose3d(4, 3, 2, 2),
    "BatchNorm3d": lambda: batch_norm(nn.BatchNorm3d, 4),
    "InstanceNorm3d": lambda: nn.InstanceNorm3d(4),
    "AvgPool3d": lambda: nn.AvgPool3d(2, padding=1),
    "MaxPool3d": lambda: nn.MaxPool3d(2, ceil_mode=True),
    "LPPool3d": lambda: nn.LPPool3d(2, 2),
    "AdaptiveAvgPool3d": lambda: nn.AdaptiveAvgPool3d((2, 3, 5)),
    "AdaptiveMaxPool3d of one": lambda: nn.AdaptiveMaxPool3d(1),
    "ZeroPad3d": lambda: nn.ZeroPad3d(1),
    "ConstantPad3d": lambda: nn.ConstantPad3d(1, 2.5),
    "ReflectionPad3d": lambda: nn.ReflectionPad3d(1),
    "ReplicationPad3d": lambda: nn.ReplicationPad3d(1),
    "CircularPad3d": lambda: nn.CircularPad3d(1),
    "Upsample trilinear": lambda: nn.Upsample(scale_factor=2, mode="trilinear"),
    "Dropout3d": nn.Dropout3d,
}

KINDS = {
    "signal": ((1, 8, 20), SIGNAL),
    "sequence": ((1, 12, 8), SEQUENCE),
    "picture": ((1, 8, 6, 10), PICTURE),
    "volume": ((1, 4, 4, 6, 5), VOLUME),
}
