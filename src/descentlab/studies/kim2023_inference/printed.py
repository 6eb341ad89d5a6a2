"""Numbers as the survey prints them, with the unit of their last digit, and the cells that are slips.

Rows of the tables are classes of operators, in the order of `ROWS`.
"""

import numpy as np

from descentlab.statistics import printed

ROWS = ("projections", "attention", "ffn", "other", None)
"""Classes of operators; `None` is the total."""

LENGTHS = (128, 256, 512, 1024, 2048, 4096)
TABLED = (128, 512, 4096)

# Columns: billions of FLOPs, billions of bytes, FLOPs a byte, percent of FLOPs, percent of bytes.
TABLE_3 = {
    128: """
        7.25 .04 192.00 32 27
        .60 .006 63.62 3 7
        14.50 .07 211.86 65 49
        .08 .02 3.14 .3 18
        22.42 .14 159.68 100 100""",
    512: """
        28.99 .07 438.86 30 16
        9.62 .09 101.95 10 20
        57.98 .10 558.54 60 25
        .42 .16 2.73 .4 37
        97.02 .42 231.0 100 100""",
    4096: """
        231.93 .33 702.17 18 3
        616.02 4.98 123.63 46 44
        463.86 .43 1068.52 35 4
        11.85 5.47 2.16 1 49
        1323.66 11.22 117.96 100 100""",
}
"""BERT-Base."""

TABLE_10 = {
    128: """
        7.25 .04 192.00 32 28
        .60 .01 95.69 3 4.7
        14.47 .07 211.86 65 51
        .07 .02 3.30 .3 16
        22.42 .13 167.14 100 100""",
    512: """
        28.99 .07 438.86 30 21
        9.65 .04 219.04 10 14
        57.98 .10 558.54 60 32
        .32 .10 3.07 .3 33
        96.94 .32 303.59 100 100""",
    4096: """
        231.93 .33 702.17 18 7
        617.63 1.76 350.61 47 37
        463.86 .43 1068.52 35 9
        5.41 2.25 2.40 .4 47
        1318.83 4.78 276.00 100 100""",
}
"""BERT-Base with four heads."""

TABLE_11 = {
    128: """
        7.25 3.63 2.00 33 33
        .30 .16 1.92 1 1
        14.50 7.26 2.00 66 66
        .07 .03 2.58 .3 .3
        22.12 11.08 2.0 100 100""",
    512: """
        28.99 14.53 2.00 32 32
        4.83 2.45 2.00 5 5
        57.98 29.04 2.00 63 63
        .35 .14 2.47 .4 .3
        92.15 46.17 2.00 100 100""",
    4096: """
        231.93 116.27 2.00 23 23
        309.24 155.98 1.98 31 31
        463.86 232.31 2.0 46 46
        7.02 3.25 2.16 .7 .6
        1012.04 507.80 1.99 100 100""",
}
"""GPT-2, its tokens generated one by one."""

SLIPS = {
    ("3", 128, 1, 1): "bytes of attention at 128",
    ("3", 512, 1, 4): "share of the bytes of attention at 512",
    ("10", 128, 2, 0): "FLOPs of the feed-forward part at 128 with four heads, which Table 3 prints right",
    ("11", 512, 1, 2): "intensity of attention at 512 in GPT-2",
}
"""Cells that are wrong in print, by table, length, row and column."""

FLOPS = {
    "bert-base": "22 46 97 214 505 1324",
    "bert-large": "73 149 310 673 1554 3942",
    "gpt2": "22 45 92 194 428 1012",
}
"""Billions of FLOPs at `LENGTHS`, figure 4."""

BYTES = {
    "bert-base": ".1 .2 .4 1.1 3.2 11.2",
    "bert-large": ".4 .6 1.2 2.9 8.7 29.9",
    "gpt2": "11.1 22.5 46.2 97.3 214.3 507.8",
}
"""Billions of bytes, figure 5."""

# Query, key and value; scores; mixing; output; the two feed-forward products; all operators.
TABLE_5 = {
    128: "170.670 25.400 63.750 128.000 130.723 186.182 106.110",
    512: "341.333 29.882 102.300 204.800 211.862 409.6 111.122",
    4096: "409.6 30.788 118.710 227.556 236.308 512.000 47.067",
}
"""Intensities of BERT-Base with the memories of the accelerator."""

LATENCY = {"bert-base": "1 2 5 11 28 80", "bert-large": "3 7 14 33 82 229", "gpt2": "18 37 75 159 352 840"}
"""Latency in units of that of BERT-Base at 128, figure 32."""

# Filter, output channels, side of the output: intensity.
TABLE_12 = {
    (1, 64, 56): "100.76",
    (3, 64, 56): "527.55",
    (1, 256, 56): "100.76",
    (1, 128, 28): "181.14",
    (3, 128, 28): "664.09",
    (1, 512, 28): "181.14",
    (1, 256, 14): "200.30",
    (3, 256, 14): "335.00",
    (1, 1024, 14): "200.30",
    (1, 512, 7): "87.53",
    (3, 512, 7): "95.96",
    (1, 2048, 7): "87.53",
}
"""Convolutions of ResNet-50."""


def read(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Numbers and the units of their last digits, one row a line.

    Examples:
        >>> read("7.25 .04")[1].tolist()
        [[0.01, 0.01]]
    """
    cells = np.array([[printed(word) for word in line.split()] for line in text.strip().splitlines()])
    return cells[..., 0], 2 * cells[..., 1]
