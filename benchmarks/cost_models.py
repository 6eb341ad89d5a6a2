"""Do our counts of public models agree with what is published, and with PyTorch's counter, and where not, why?

Every model of `descentlab.cost.presets.PUBLISHED` is built by the Transformers library from its configuration, without
data and without downloads, and runs one pass over 128 tokens under `torch.utils.flop_counter`. The script stops if a
difference is not one of those explained below.

    python benchmarks/cost_models.py [name ...]
"""

import sys

import common

TOKENS = 128

WHY = {
    "deepseek-v3": (
        "the correction of a router, one number an expert, is a parameter here and a buffer there", 58 * 256,
    ),
    "mt5-small": ("the head is the embedding there, whatever the configuration says", 250112 * 512),
    "mt5-base": ("the head is the embedding there, whatever the configuration says", 250112 * 768),
    "mt5-xl": ("the head is the embedding there, whatever the configuration says", 250112 * 2048),
}  # fmt: skip
"""Parameters here that PyTorch's model does not have, and the reason."""

MISSING = {
    "qwen": "the library has no such model type",
    "deepseek": "the library has no such model type",
}
"""Why a model type is not built."""

UNITS = {"M": 1e6, "B": 1e9, "T": 1e12}


def ours(config):
    """The model, operations of its products, and those of the head."""
    from descentlab.cost import from_config
    from descentlab.cost.training import products

    model = from_config(config)
    operators = [one for found in model.one_pass(TOKENS).values() for one in found]
    return model, products(operators)


def built(config, device, causal):
    """The configuration as the library has it, and its model; experts as products of gathered weights."""
    import torch
    import transformers

    fields = {name: value for name, value in config.items() if name not in ("model_type", "quantization_config")}
    found = transformers.AutoConfig.for_model(config["model_type"], **fields)
    found._experts_implementation = "batched_mm"
    kind = transformers.AutoModel
    if causal:
        kind = transformers.AutoModelForSeq2SeqLM if found.is_encoder_decoder else transformers.AutoModelForCausalLM
    if hasattr(found, "vision_config"):
        kind = transformers.AutoModelForImageTextToText
    with torch.device(device):
        return found, kind.from_config(found, attn_implementation="eager").eval()


def theirs(config, causal):
    """Parameters of PyTorch's model, and the operations that its counter sees in one pass."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    # DeBERTa reads the length of its input from the data, so it needs some.
    device = "cpu" if config["model_type"].startswith("deberta") else "meta"
    found, model = built(config, device, causal)
    tokens = torch.ones(1, TOKENS, dtype=torch.long, device=device)
    inputs = {"input_ids": tokens}
    if hasattr(found, "image_size"):
        inputs = {"pixel_values": torch.ones(1, 3, found.image_size, found.image_size, device=device)}
    if found.is_encoder_decoder:
        inputs["decoder_input_ids"] = tokens
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(**inputs)
    return sum(one.numel() for one in model.parameters()), counter.get_total_flops()


def shown(value, published):
    """A count with the digits and the unit that are published."""
    number, unit = published.split()
    return f"{value / UNITS[unit]:.{len(number.partition('.')[2])}f} {unit}"


def digits(published):
    """A published number, and the worth of its last digit that is not a zero at the end."""
    number, unit = published.split()
    places = len(number.partition(".")[2]) or -(len(number) - len(number.rstrip("0")))
    return float(number) * UNITS[unit], 10.0**-places * UNITS[unit]


def compared(name, model, published):
    """In what the counts of parameters are not the published ones, rounded to their digits.

    Raises:
        SystemExit: if they are not even those digits cut, with or without embeddings that are looked up.
    """
    found = []
    for what, text, counts in (
        ("parameters", published.parameters, {"": model.total}),
        ("active", published.active, {"": model.active, "without the embedding": model.multiplied}),
    ):
        if text is None:
            continue
        number, unit = digits(text)
        for without, count in counts.items():
            cut = 0 <= count - number < unit
            if abs(count - number) <= unit / 2 or cut:
                words = [without] * bool(without) + ["cut in print"] * (count - number > unit / 2)
                found += [f"{what} {' and '.join(words)}"] if words else []
                break
        else:
            raise SystemExit(f"{name}: {text} {what} published, {counts[''].__format__(',')} counted")
    return found


def row(name, published):
    """One line of the table.

    Raises:
        SystemExit: if a difference is not explained.
    """
    model, flops = ours(published.config)
    notes = compared(name, model, published)
    kind = published.config["model_type"]
    counts, seen = "", ""
    if kind in MISSING:
        notes.append(MISSING[kind])
    else:
        parameters, operations = theirs(published.config, model.causal)
        why, difference = WHY.get(name, ("", 0))
        if model.total - parameters != difference or flops != operations:
            raise SystemExit(
                f"{name}: {model.total:,} parameters and {flops:,.0f} operations here, {parameters:,} and "
                f"{operations:,} there"
            )
        counts, seen = f"{parameters:,}", f"{operations / 1e9:,.4f}"
        notes += [why] if why else []
    active = "" if published.active is None else f", {published.active} active"
    counted = shown(model.total, published.parameters)
    counted += "" if published.active is None else f", {shown(model.active, published.active)} active"
    return (
        f"| {name} | {published.parameters}{active} | {counted} | {model.total:,} | {counts} | {flops / 1e9:,.4f} | "
        f"{seen} | {'; '.join(notes)} |"
    )


def main(names):
    if not (common.has_torch() and common.util.find_spec("transformers")):
        print("PyTorch or Transformers is not installed: skipped")
        return
    import transformers

    from descentlab.cost.presets import PUBLISHED

    transformers.logging.set_verbosity_error()
    print(f"# Parameters, and operations of matrix products in one pass over {TOKENS} tokens\n")
    print("| model | published | counted | parameters here | PyTorch | 10^9 operations here | PyTorch | difference |")
    print("|---|---|---|---|---|---|---|---|")
    for name, published in PUBLISHED.items():
        if not names or name in names:
            print(row(name, published), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
