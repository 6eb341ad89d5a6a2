"""The precision of weights in a file's own words, its `quantization_config`."""

from collections.abc import Mapping
from typing import Any

from descentlab.cost.fields import Fields, Refused
from descentlab.cost.precision import BYTES, Format, format_of

__all__ = ["dtype", "quantized"]


def dtype(name: str | None) -> Format | None:
    """The format of a `torch_dtype`, `None` where it is not known."""
    plain = (name or "").removeprefix("torch.")
    return format_of(plain) if plain in BYTES else None


def quantized(config: Mapping[str, Any], where: str = "quantization_config") -> tuple[Format, str]:
    """The format of quantised matrices, and which matrices are: *layers*, or *experts* alone.

    Read are GPTQ, AWQ, bitsandbytes, fp8 by blocks or tensors, mxfp4, and compressed tensors of one group.

    Raises:
        Refused: if the method or one of its sizes is not known.
    """
    fields = Fields(config, where)
    method = fields.text("quant_method", "")
    if method in ("gptq", "awq"):
        bits = fields.whole("bits", "w_bit", default=4, most=8)
        size = fields.whole("group_size", "q_group_size", default=128, least=-1)
        return _grouped(bits, size, 16 + bits, method), "layers"
    if method in ("bitsandbytes", ""):
        return _bitsandbytes(fields, method, where), "layers"
    if method == "fp8":
        block = fields.items("weight_block_size", int)
        scales = 4 / (block[0] * block[1]) if block and len(block) == 2 and min(block) > 0 else 0.0
        return Format("fp8", 1 + scales), "layers"
    if method == "mxfp4":
        return format_of("mxfp4"), "experts"
    if method == "compressed-tensors":
        return _compressed(fields, where), "layers"
    raise Refused(f"{where}: quant_method {method!r} is not known; known are {', '.join(_METHODS)}")


_METHODS = ("gptq", "awq", "bitsandbytes", "fp8", "mxfp4", "compressed-tensors")


def _grouped(bits: int, size: int, scale: int, method: str) -> Format:
    """So many bits an entry, and those of scale and zero for each group; -1 is one group a row, hardly anything."""
    if size < 1:
        return Format(f"int{bits} ({method})", bits / 8)
    return Format(f"int{bits} in groups of {size} ({method})", (bits + scale / size) / 8)


def _bitsandbytes(fields: Fields, method: str, where: str) -> Format:
    """Blocks of 64 with a scale of 32 bits, or of 8 bits that have one of 32 bits for every 256."""
    if fields.flag("load_in_4bit", False):
        kind = fields.text("bnb_4bit_quant_type", "fp4")
        twice = fields.flag("bnb_4bit_use_double_quant", False)
        return Format(f"{kind} in blocks of 64 (bitsandbytes)", 0.5 + (1 / 64 + 4 / 64 / 256 if twice else 4 / 64))
    if fields.flag("load_in_8bit", False):
        return Format("int8 (bitsandbytes)", 1.0)
    raise Refused(f"{where}: quant_method {method!r} without load_in_4bit or load_in_8bit is not known")


def _compressed(fields: Fields, where: str) -> Format:
    groups = fields.inner("config_groups")
    names = [] if groups is None else list(groups.data)
    only = groups.inner(names[0]) if groups is not None and len(names) == 1 else None
    weights = None if only is None else only.inner("weights")
    if weights is None:
        raise Refused(f"{where}: compressed-tensors with other than one group of weights is not known")
    bits = weights.whole("num_bits", most=16)
    if weights.text("type", "int") == "float":
        return Format(f"fp{bits}", bits / 8)
    return _grouped(bits, weights.whole("group_size", default=-1, least=-1), 16, "compressed-tensors")
