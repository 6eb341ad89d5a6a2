"""Products of parameters with the known parts of examples: what neurons have learned of signal and noise."""

import jax
import jax.numpy as jnp

from descentlab._definition import DefinitionError
from descentlab._tree import is_meant, named
from descentlab._types import Array, Float, PyTree
from descentlab.axis import Axis
from descentlab.objective import Examples
from descentlab.point import Point
from descentlab.probes.base import AbstractProbe
from descentlab.schedule import AbstractSchedule, LogSpaced

__all__ = ["Products", "direction"]


def direction(examples: Examples, part: str) -> Float[Array, "example dim"]:
    """The vectors of a part of some examples: the part itself, or the tokens at the places that it says.

    Args:
        examples: with the part.
        part: its name. A part of real numbers has one vector an example, one of whole numbers the place of a token.

    Raises:
        DefinitionError: if there is no such part, or it is neither.
    """
    if part not in examples.parts:
        known = ", ".join(sorted(examples.parts)) or "none"
        raise DefinitionError(f"the examples have no part {part!r} (parts: {known}); the task names them in `sample`")
    found = jnp.asarray(examples.parts[part])
    if jnp.issubdtype(found.dtype, jnp.integer) and found.ndim == 1:
        return jax.vmap(lambda tokens, place: tokens[place])(examples.inputs, found)
    if found.ndim != 2:
        raise DefinitionError(
            f"the part {part!r} must be one vector or the place of one token an example, got the shape {found.shape}"
        )
    return found


class Products(AbstractProbe):
    r"""The products $W^\top x_i$ of a parameter with the vectors of named parts of the examples, neuron by neuron.

    Args:
        parameter: its name, or that of its block where it is the only one of it, such as `query`; of shape
            (dim, neurons) or (heads, dim, neurons).
        parts: of the examples; see `direction`.
        when: the steps at which they are recorded.

    Raises:
        DefinitionError: if there is no such part, or not one such parameter.
    """

    parameter: str
    parts: tuple[str, ...]
    when: AbstractSchedule = LogSpaced()

    def __check_init__(self):
        if not self.parts:
            raise DefinitionError("Products.parts must name at least one part of the examples, got none")

    def __call__(self, point: Point) -> Array:
        """The products; a parameter without heads is one head."""
        found = named(point.objective.model(point.params))
        array = jnp.asarray(found[self._name(list(found))])
        if array.ndim not in (2, 3):
            raise DefinitionError(f"Products wants a matrix, or one a head, {self.parameter!r} has shape {array.shape}")
        vectors = jnp.stack([direction(point.objective.examples, part) for part in self.parts])
        return jnp.einsum("hdw,pnd->pnhw", array.reshape(-1, *array.shape[-2:]), vectors)

    def _name(self, known: list[str]) -> str:
        meant = [name for name in known if is_meant(name, self.parameter)]
        if len(meant) != 1:
            said = ", ".join(meant) or "none"
            raise DefinitionError(f"Products.parameter must mean one parameter, {self.parameter!r} means {said}")
        return meant[0]

    def axes(self, params: PyTree) -> tuple[Axis, ...]:
        """The parts, the examples, the heads and their neurons."""
        del params
        return (Axis("part", self.parts), Axis("example"), Axis("head"), Axis("neuron"))
