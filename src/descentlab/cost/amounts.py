"""Numbers of the cost model in words."""

from descentlab.cost.costed import Anchors

__all__ = ["amount", "anchors"]

_PREFIXES = {
    1e18: "E", 1e15: "P", 1e12: "T", 1e9: "G", 1e6: "M", 1e3: "k", 1.0: "", 1e-3: "m", 1e-6: "u", 1e-9: "n",
}  # fmt: skip


def amount(value: float) -> str:
    """A number with three digits and a prefix of thousands."""
    for factor, prefix in _PREFIXES.items():
        if value >= factor:
            return f"{value / factor:.3g} {prefix}"
    return f"{value:.2g} "


def anchors(of: Anchors) -> str:
    """Parameters and bytes of a model, with more digits of the parameters, by which one knows it."""
    active = f", {_parameters(of.active)} active" if of.active != of.parameters else ""
    cache = f", key-value cache {amount(of.cache_bytes_a_token)}B a token" if of.cache_bytes_a_token else ""
    return f"parameters {_parameters(of.parameters)}{active}; weights {amount(of.weight_bytes)}B{cache}"


def _parameters(value: float) -> str:
    """A number of parameters, with four digits, in billions or millions."""
    return f"{value / 1e9:.4g} B" if value >= 1e9 else f"{value / 1e6:.4g} M"
