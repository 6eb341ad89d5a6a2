"""What only some models offer: probes and theory ask for it by what it is, never for one class of models."""

from typing import Protocol, TypeVar, runtime_checkable

from descentlab._types import Array, Float, PyTree
from descentlab.mistake import Mistake

__all__ = ["AttentionFeatures", "AttentionMatrices", "HeadContributions", "offering"]


@runtime_checkable
class AttentionMatrices(Protocol):
    """A model that shows its attention matrices."""

    def weights(self, example: Array, /) -> Float[Array, "*layers heads time other"]:
        """The attention matrix of every head, with a leading axis of layers where there may be several."""
        ...


@runtime_checkable
class AttentionFeatures(Protocol):
    """A model whose outputs are linear in attention features."""

    def features(self, example: Array, /) -> Float[Array, "... features"]:
        """This example's rows of the feature matrix."""
        ...


@runtime_checkable
class HeadContributions(Protocol):
    """A model whose outputs are sums over tokens, weighted by attention."""

    def contributions(self, example: Array, /) -> Float[Array, "heads time out"]:
        """What a unit of attention on each token adds to an output."""
        ...


_METHODS = {AttentionMatrices: "weights", AttentionFeatures: "features", HeadContributions: "contributions"}


Capability = TypeVar("Capability")


def offering(model: PyTree, capability: type[Capability], wanted_by: str) -> Capability:
    """The model, if it offers a capability.

    Args:
        model: a trainable model.
        capability: one of the protocols of this file.
        wanted_by: who asks, for the message.

    Raises:
        Mistake: if it does not; says which method is missing.
    """
    if isinstance(model, capability):
        return model
    method = _METHODS[capability]
    raise Mistake(
        f"{wanted_by} asks a model for its method `{method}`, which {type(model).__name__} does not have; choose "
        f"another model, or give the class `{method}` as descentlab.models.{capability.__name__} says"
    )
