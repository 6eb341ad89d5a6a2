"""What a model costs: counts, bounds and modelled times at each length, with the numbers by which one knows a model."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from descentlab._check import nearest
from descentlab.cost import config, presets, roofline, training
from descentlab.cost.accelerator import Accelerator
from descentlab.cost.attention import Attention, kernel
from descentlab.cost.fields import Refused
from descentlab.cost.latent import LatentAttention
from descentlab.cost.model import Model
from descentlab.cost.operators import KINDS, Operator
from descentlab.cost.precision import Precision, format_of, weight_bytes
from descentlab.cost.quantization import dtype, quantized
from descentlab.cost.roofline import Machine
from descentlab.cost.setting import Setting
from descentlab.cost.summary import CostRow, breakdown
from descentlab.cost.transformer import TransformerSizes
from descentlab.mistake import Mistake

__all__ = ["Anchors", "LengthCost", "Cost", "cost"]


@dataclasses.dataclass(frozen=True)
class Anchors:
    """Numbers by which one knows a model, and sees that it was read as it is.

    Attributes:
        parameters: all trainable entries.
        active: those that one token meets.
        weight_bytes: of all parameters.
        cache_bytes_a_token: that one more token of a sequence adds to the cache, at the start.
    """

    parameters: float
    active: float
    weight_bytes: float
    cache_bytes_a_token: float


@dataclasses.dataclass(frozen=True)
class LengthCost:
    """What a model costs at one length.

    Attributes:
        length: tokens of a sequence, or the side of an image.
        operators: what is computed.
        rows: of the table.
        products: operations of matrix products alone, two a multiply-add, without the head; what other counters count.
        head_products: those of the head.
        cache_bytes: of the cache at the end, of all sequences.
        memory: what a step of training holds.
        utilisation: of a measured one.
        rule: 6 N D, the rule of thumb for a step of training.
        measured: seconds of every operator on this machine, if it was measured.
    """

    length: int
    operators: list[Operator]
    rows: list[CostRow]
    products: float
    head_products: float
    cache_bytes: float = 0.0
    memory: training.Memory | None = None
    utilisation: training.Utilisation | None = None
    rule: float | None = None
    measured: Mapping[str, float] | None = None

    def as_data(self) -> dict[str, Any]:
        """JSON-compatible data."""
        found: dict[str, Any] = {"length": self.length, "groups": [row.as_data() for row in self.rows]}
        found |= {"products": self.products, "head_products": self.head_products, "cache_bytes": self.cache_bytes}
        if self.memory is not None:
            found |= {"memory": self.memory.as_data(), "six_n_d": self.rule}
        if self.utilisation is not None:
            found["utilisation"] = dataclasses.asdict(self.utilisation)
        return found | ({} if self.measured is None else {"measured_seconds": dict(self.measured)})


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a model costs at each length.

    Attributes:
        title: model and circumstances in words.
        axis: what a length is.
        machine: the roofline.
        precision: by kind of entries.
        accelerator: the modelled one, if there is one.
        at: one a length.
        anchors: parameters and bytes; `None` for a convolutional network.
        uncounted: what is left out, in words.
        read: fields of the file that were read.
    """

    title: str
    axis: str
    machine: Machine
    precision: Precision
    accelerator: Accelerator | None
    at: tuple[LengthCost, ...]
    anchors: Anchors | None = None
    uncounted: tuple[str, ...] = ()
    read: tuple[str, ...] = ()

    @property
    def lengths(self) -> tuple[int, ...]:
        """Lengths of sequences."""
        return tuple(one.length for one in self.at)

    def as_data(self) -> dict[str, Any]:
        """JSON-compatible data."""
        return {
            "title": self.title,
            "axis": self.axis,
            "precision": {kind: dataclasses.asdict(getattr(self.precision, kind)) for kind in KINDS},
            "machine": dataclasses.asdict(self.machine),
            "accelerator": None if self.accelerator is None else dataclasses.asdict(self.accelerator),
            "anchors": None if self.anchors is None else dataclasses.asdict(self.anchors),
            "not_counted": list(self.uncounted),
            "read": list(self.read),
            "lengths": [one.as_data() for one in self.at],
        }


def cost(model: str | Mapping[str, Any] | Model | TransformerSizes, setting: Setting | None = None) -> Cost:
    """What a model costs.

    Args:
        model: fields of a `config.json`; or a preset, or the path of a file that describes a model; or a model.
        setting: how it is run.

    Raises:
        Mistake: if the model, a kernel, a machine or a precision is not known, or a size is refused.

    Examples:
        >>> config = {"model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12, "vocab_size": 50257}
        >>> found = cost(config, Setting(seq=128, phase="pass"))
        >>> f"{found.anchors.parameters / 1e6:.0f} M parameters, {found.at[0].rows[-1].flops / 1e9:.1f} G operations"
        '124 M parameters, 32.3 G operations'
    """
    setting = setting or Setting()
    setting.check()
    name = model if isinstance(model, str) else ""
    if name in presets.CONVOLUTIONAL:
        return _convolutional(name, setting)
    found = _model(model)
    if setting.kernel is not None:
        found = found.with_kernel(kernel(setting.kernel))
    precision, left = _precision(found, setting)
    machine, accelerator = _machine(setting, precision), None
    if setting.hardware in (None, "gemmini") and not setting.trains:
        uniform = precision.uniform
        accelerator = setting.accelerator if uniform else None
        left += () if uniform else ("the modelled accelerator, all of whose entries have one width",)
    phase = _phase(found, setting)
    if len(found.stacks) > 1 and any(stack.images for stack in found.stacks) and not setting.images:
        left += ("the vision tower, since there are no images; give --images, with --phase pass or train",)
    run = _Counted(found, setting, phase, machine, precision, accelerator)
    at = tuple(run.at(length) for length in _own_lengths(found, setting))
    anchors = Anchors(
        float(found.total),
        float(found.active),
        weight_bytes(found.parameters(), precision),
        float(found.cache(1)) * precision.cache.bytes,
    )
    title = f"{name or found.family}, {_words(found, setting)}batch {setting.batch}, {_PHASES[phase]}"
    return Cost(title, "length", machine, precision, accelerator, at, anchors, (*found.uncounted, *left), found.read)


_PHASES = {"generate": "generating token by token", "pass": "one pass", "train": "a step of training"}


def _model(model: str | Mapping[str, Any] | Model | TransformerSizes) -> Model:
    if isinstance(model, str):
        return config.read(model)
    if isinstance(model, TransformerSizes):
        return model.model
    return model if isinstance(model, Model) else config.from_config(model, "the configuration")


def _words(model: Model, setting: Setting) -> str:
    parts = [part for run in model.stacks[-1].layers for part in run.layer.parts]
    kernels = {part.kernel.name for part in parts if isinstance(part, Attention | LatentAttention)}
    words = "".join(f"{name} attention, " for name in sorted(kernels))
    return words + (f"images {setting.images}, " if setting.images else "")


def _phase(model: Model, setting: Setting) -> str:
    """The phase that is meant.

    Raises:
        Mistake: if it is none of this model's.
    """
    phase = ("generate" if model.causal else "pass") if setting.phase == "auto" else setting.phase
    if phase not in _PHASES:
        raise Mistake(f"there is no phase {phase!r}; {nearest(phase, [*_PHASES, 'auto'])}")
    if setting.prompt and phase != "generate":
        raise Mistake("--prompt is for generation; add --phase generate")
    if setting.images and phase == "generate":
        raise Mistake("--images is for a pass, which reads them; add --phase pass")
    if phase == "generate" and any(stack.images for stack in model.stacks[-1:]):
        raise Mistake("a vision tower does not generate; add --phase pass")
    return phase


def _own_lengths(model: Model, setting: Setting) -> tuple[int, ...]:
    """Lengths of sequences; a vision tower has one of its own."""
    fixed = [stack.length for stack in model.stacks]
    return tuple(length for length in fixed[:1] if length) if all(fixed) else setting.lengths


@dataclasses.dataclass(frozen=True)
class _Counted:
    """A model under a setting."""

    model: Model
    setting: Setting
    phase: str
    machine: Machine
    precision: Precision
    accelerator: Accelerator | None

    def at(self, length: int) -> LengthCost:
        """One length."""
        model, setting = self.model, self.setting
        if self.phase == "generate":
            rows = model.steps(length, prompt=setting.prompt, batch=setting.batch)
        else:
            rows = model.one_pass(length, batch=setting.batch, images=setting.images)
        forward = [one for found in rows.values() for one in found]
        if self.phase == "train":
            rows = {name: training.step(found, setting.recompute) for name, found in rows.items()}
        operators = [one for found in rows.values() for one in found]
        chosen = rows if setting.by == "layer" else operators
        table = breakdown(chosen, self.machine, self.precision, self.accelerator)
        head = training.products([one for one in operators if one.group == "head"])
        found = LengthCost(length, operators, table, training.products(operators) - head, head)
        return self._trained(found, forward) if self.phase == "train" else self._inferred(found)

    def _inferred(self, at: LengthCost) -> LengthCost:
        """The same with its cache, and measured where that is asked for."""
        context, source = self.setting.prompt + at.length, self.model.source(self.setting.prompt or at.length)
        cached = self.model.cache(context, batch=self.setting.batch, source=source)
        at = dataclasses.replace(at, cache_bytes=float(cached) * self.precision.cache.bytes)
        if self.setting.hardware != "here":
            return at
        from descentlab.cost.measure import operator_seconds

        return dataclasses.replace(at, measured=operator_seconds(at.operators, self.precision.computing))

    def _trained(self, at: LengthCost, forward: list[Operator]) -> LengthCost:
        """The same with what a step of training holds, the rule of thumb and the utilisation."""
        setting, used = self.setting, None
        works = self.model.works(at.length, batch=setting.batch, images=setting.images)
        memory = training.memory(self.model, works, self.precision, setting.optimizer, setting.recompute)
        rule = 6.0 * float(self.model.multiplied) * at.length * setting.batch
        if setting.measured_ms is not None:
            seconds, peak = setting.measured_ms / 1e3, self.machine.peak(self.precision.computing)
            whole = at.products + at.head_products
            used = training.utilisation(seconds, peak, training.products(forward), whole, rule)
        return dataclasses.replace(at, memory=memory, rule=rule, utilisation=used)


def _machine(setting: Setting, precision: Precision) -> Machine:
    """The machine that is asked for."""
    name = setting.hardware or ("h100" if setting.trains else "gemmini")
    if name != "here":
        return roofline.machine(name)
    from descentlab.cost.measure import here

    return here(precision.computing)


def _precision(model: Model, setting: Setting) -> tuple[Precision, tuple[str, ...]]:
    """Precisions by kind of entries, and what of the file's own was not read.

    Raises:
        Mistake: if one is not known.
    """
    base = format_of(setting.precision or ("bfloat16" if setting.trains else "int8"))
    computed = format_of(setting.activations) if setting.activations else base
    cached = format_of(setting.cache) if setting.cache else base
    found = {"weights": base, "experts": base, "plain": base}
    left: tuple[str, ...] = ()
    if setting.weights:
        found = dict.fromkeys(("weights", "experts"), format_of(setting.weights)) | {"plain": base}
        found["plain"] = found["weights"] if found["weights"].bytes >= 2 else computed
    elif model.quantization is not None and setting.precision is None:
        try:
            own, scope = quantized(model.quantization)
        except Refused as error:
            left = (f"the file's own precision of weights ({error})",)
        else:
            plain = dtype(model.dtype) or format_of("bfloat16")
            found = {"weights": own if scope == "layers" else plain, "experts": own, "plain": plain}
    elif model.quantization is not None:
        left = ("the file's quantization_config, since --precision was given",)
    return Precision(**found, activations=computed, cache=cached), left


def _convolutional(name: str, setting: Setting) -> Cost:
    """The counts of a convolutional network, whose images have one size.

    Raises:
        Mistake: if it gets a flag of Transformers.
    """
    if setting.kernel is not None or setting.phase != "auto":
        raise Mistake(f"{name} has no attention; leave out --kernel and --phase")
    operators = presets.CONVOLUTIONAL[name](setting.batch)
    base = format_of(setting.precision or "int8")
    precision = Precision(base, base, base, base, base)
    machine = _machine(setting, precision)
    accelerator = setting.accelerator if setting.hardware in (None, "gemmini") else None
    rows = breakdown(operators, machine, precision, accelerator)
    head = training.products([one for one in operators if one.group == "head"])
    at = LengthCost(presets.IMAGE, operators, rows, training.products(operators) - head, head)
    return Cost(f"{name}, batch {setting.batch}", "image side", machine, precision, accelerator, (at,))
