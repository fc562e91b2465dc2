#!/usr/bin/env python3
"""What scales of int8 activations cost: one static scale a tensor, as W8A8 checkpoints bring it,
against dynamic ones (a row; a row's every 128 inputs, which is what Octet takes).

    compare_activation_scales.py [--model DIR] [--text FILE] [--tokens N]

The model's linears get int8 weights (a scale an output) and fake-quantized activations; the reference
has the same weights and float32 activations. Three forms of one model: as it is; with outlier channels
in front of every linear that a norm feeds (the norm's weights times 30, the linear's columns divided, so
that the function stays); and those smoothed as SmoothQuant does it (alpha 0.5). Static scales are the
largest magnitudes of `--tokens` tokens of the text, divided by 127; measured is on as many others.
Prints a table for worker/weights/formats/README.md. Needs torch and transformers; no test runs it.
"""
import argparse
import pathlib

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

SOURCE = pathlib.Path(__file__).resolve().parents[4]
WINDOW = 256  # tokens of a sequence
FED_BY_NORM = {"input_layernorm": ("self_attn", ("q_proj", "k_proj", "v_proj")),
               "post_attention_layernorm": ("mlp", ("gate_proj", "up_proj"))}


def scale_channels(model, factor_of):
    """Multiplies a norm's outputs by factor_of(...) and divides what reads them: the same function."""
    for layer in model.model.layers:
        for norm, (block, names) in FED_BY_NORM.items():
            linears = [getattr(getattr(layer, block), name) for name in names]
            factors = factor_of(linears)
            getattr(layer, norm).weight.data *= factors
            for linear in linears:
                linear.weight.data /= factors


def outliers(model, generator):
    def factor_of(linears):
        factors = torch.ones(linears[0].in_features)
        factors[torch.randperm(len(factors), generator=generator)[:4]] = 30
        return factors
    scale_channels(model, factor_of)


def observe(model, ids, see):
    hooks = [module.register_forward_pre_hook(lambda m, x: see(m, x[0]))
             for module in model.model.layers.modules() if isinstance(module, torch.nn.Linear)]
    with torch.no_grad():
        model(ids)
    for hook in hooks:
        hook.remove()


def smooth(model, ids):
    seen = {}
    observe(model, ids, lambda m, x: seen.update({m: x.abs().amax((0, 1))}))

    def factor_of(linears):
        of_weights = torch.stack([m.weight.abs().amax(0) for m in linears]).amax(0)
        return (of_weights.clamp(min=1e-5) / seen[linears[0]].clamp(min=1e-5)).sqrt()
    scale_channels(model, factor_of)


def rounded(x, scale):
    return (x / scale).round().clamp(-127, 127) * scale


def by_row(x, group):
    parts = x.unflatten(-1, (-1, min(group, x.shape[-1])))
    scale = parts.abs().amax(-1, keepdim=True).clamp(min=1e-12) / 127
    return rounded(parts, scale).flatten(-2)


def measure(model, calibration, ids):
    """Of each kind of scale: mean divergence of the next token, mean squared error of linears."""
    for linear in model.model.layers.modules():
        if isinstance(linear, torch.nn.Linear):
            scale = linear.weight.abs().amax(1, keepdim=True) / 127
            linear.weight.data = rounded(linear.weight.data, scale)
    largest = {}
    observe(model, calibration, lambda m, x: largest.update({m: x.abs().amax()}))
    kinds = {"static, a tensor": lambda m, x: rounded(x, largest[m] / 127),
             "dynamic, a row": lambda m, x: by_row(x, x.shape[-1]),
             "dynamic, a row's 128": lambda m, x: by_row(x, 128)}
    with torch.no_grad():
        expected = model(ids).logits.log_softmax(-1)
    results = {}
    for name, quantize in kinds.items():
        errors = []

        def see(m, x, quantize=quantize, errors=errors):
            y, z = m(x), m(quantize(m, x))
            errors.append(((y - z).square().sum() / y.square().sum()).item())
        inputs = {}
        observe(model, ids, lambda m, x: inputs.update({m: x}))
        for m, x in inputs.items():
            see(m, x)
        hooks = [m.register_forward_pre_hook(lambda m, x, q=quantize: (q(m, x[0]),))
                 for m in model.model.layers.modules() if isinstance(m, torch.nn.Linear)]
        with torch.no_grad():
            found = model(ids).logits.log_softmax(-1)
        for hook in hooks:
            hook.remove()
        divergence = (expected.exp() * (expected - found)).sum(-1).mean().item()
        results[name] = (divergence, sum(errors) / len(errors))
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default=SOURCE / "launch/demo_model/model")
    parser.add_argument("--text", default=SOURCE / "launch/demo_model/heldout/bible.txt")
    parser.add_argument("--tokens", type=int, default=4096)
    args = parser.parse_args()
    torch.manual_seed(1)
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    ids = torch.tensor(tokenizer(pathlib.Path(args.text).read_text())["input_ids"])
    windows = args.tokens // WINDOW
    calibration = ids[:windows * WINDOW].view(windows, WINDOW)
    rest = ids[windows * WINDOW:2 * windows * WINDOW].view(windows, WINDOW)
    print("| model | scales | divergence | squared error of a linear |\n|---|---|---|---|")
    for form in ("as it is", "outliers", "outliers, smoothed"):
        model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).eval()
        if form != "as it is":
            outliers(model, torch.Generator().manual_seed(2))
        if form == "outliers, smoothed":
            smooth(model, calibration)
        for name, (divergence, error) in measure(model, calibration, rest).items():
            print(f"| {form} | {name} | {divergence:.3g} | {error:.3g} |")


if __name__ == "__main__":
    main()
