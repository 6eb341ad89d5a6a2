"""The encoder of the benchmarks: ours, and the same as a PyTorch module with our weights."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Encoder:
    """Two layers of a classifier on so many sequences of a length.

    Attributes:
        fused: whether PyTorch uses its fused attention, which has no second derivative, and its fused layer norm. The
            forward derivative of the latter's gradient by the scale is wrong (PyTorch 2.13).
    """

    samples: int = 512
    length: int = 128
    width: int = 64
    heads: int = 2
    head: int = 32
    hidden: int = 128
    vocabulary: int = 257
    classes: int = 2
    fused: bool = True


def encoder(size):
    """Our objective, and its parameters."""
    import equinox as eqx
    import jax
    import numpy as np

    from descentlab.losses import CrossEntropy
    from descentlab.models import Classify, Transformer
    from descentlab.objective import Examples, Objective

    random = np.random.default_rng(0)
    tokens = random.integers(1, size.vocabulary, (size.samples, size.length)).astype(np.int32)
    classes = random.integers(0, size.classes, size.samples).astype(np.int32)
    shape = {name: getattr(size, name) for name in ("width", "heads", "hidden", "vocabulary")}
    architecture = Transformer(head_dim=size.head, readout=Classify(size.classes), **shape)
    model = architecture.init(tokens[0], key=jax.random.key(0))
    params, frozen = eqx.partition(model, eqx.is_inexact_array)
    examples = Examples(jax.numpy.asarray(tokens), jax.numpy.asarray(classes))
    return Objective(frozen, examples, CrossEntropy()), params


def torch_encoder(size):
    """The encoder as a module, without a mask, since every token is real."""
    import torch

    def attended(queries, keys, values):
        return torch.softmax(queries @ keys.transpose(-1, -2) / size.head**0.5, dim=-1) @ values

    class PlainNorm(torch.nn.Module):
        def __init__(self, width):
            super().__init__()
            self.weight, self.bias = torch.nn.Parameter(torch.ones(width)), torch.nn.Parameter(torch.zeros(width))

        def forward(self, tokens):
            centred = tokens - tokens.mean(-1, keepdim=True)
            return centred * (centred.square().mean(-1, keepdim=True) + 1e-5).rsqrt() * self.weight + self.bias

    norm = torch.nn.LayerNorm if size.fused else PlainNorm

    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            inner = size.heads * size.head
            self.query, self.key, self.value = (torch.nn.Linear(size.width, inner) for _ in range(3))
            self.output = torch.nn.Linear(inner, size.width)
            self.up, self.down = torch.nn.Linear(size.width, size.hidden), torch.nn.Linear(size.hidden, size.width)
            self.norms = torch.nn.ModuleList(norm(size.width) for _ in range(2))

        def forward(self, tokens):
            seen = self.norms[0](tokens)
            shape = (*tokens.shape[:2], size.heads, size.head)
            parts = [one(seen).view(shape).transpose(1, 2) for one in (self.query, self.key, self.value)]
            attend = torch.nn.functional.scaled_dot_product_attention if size.fused else attended
            mixed = attend(*parts).transpose(1, 2).flatten(2)
            tokens = tokens + self.output(mixed)
            hidden = torch.nn.functional.gelu(self.up(self.norms[1](tokens)), approximate="tanh")
            return tokens + self.down(hidden)

    class Encoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = torch.nn.Embedding(size.vocabulary, size.width)
            self.position = torch.nn.Parameter(torch.empty(size.length, size.width))
            self.layers = torch.nn.Sequential(Block(), Block())
            self.norm = norm(size.width)
            self.head = torch.nn.Sequential(
                torch.nn.Linear(size.width, 128), torch.nn.ReLU(), torch.nn.Linear(128, size.classes)
            )

        def forward(self, tokens):
            return self.head(self.norm(self.layers(self.embed(tokens) + self.position)).mean(1))

    return Encoder()


def fill_encoder(module, tree, size):
    """The tensors of our tree in the order of the module's parameters; PyTorch keeps matrices transposed and merged."""

    def of(name):
        part, _, rest = name.partition(".")
        if part == "head":
            block = "hidden" if rest.startswith("0") else "classes"
            return matrix(getattr(tree.readout, block if rest.endswith("weight") else f"{block}_bias"))
        if part == "norm":
            return tensor(tree.norm.scale if rest == "weight" else tree.norm.shift)
        if part != "layers":
            return tensor(getattr(tree, part))
        number, block, *kind = rest.split(".")
        own = tree.layers[int(number)]
        if block == "norms":
            norm = (own.norm, own.fed.norm)[int(kind[0])]
            return tensor(norm.scale if kind[1] == "weight" else norm.shift)
        home = own.fed if block in ("up", "down") else own
        array = getattr(home, block if kind[0] == "weight" else f"{block}_bias")
        if array.ndim == 3:
            merged = (
                array.transpose(1, 0, 2).reshape(size.width, -1) if block != "output" else array.reshape(-1, size.width)
            )
            return matrix(merged)
        return matrix(array) if kind[0] == "weight" else tensor(array.reshape(-1))

    return [of(name) for name, _ in module.named_parameters()]


def tensor(array):
    import numpy as np
    import torch

    return torch.from_numpy(np.array(array))


def matrix(array):
    return tensor(array).T.contiguous() if array.ndim == 2 else tensor(array)
