#!/usr/bin/env python3
"""Turns a QServe (QoQ) model folder into one that Octet reads.

`quant_model.pt` is a pickle, which no service should open: this script reads it once, with
torch.load(weights_only=True), and writes the same bytes to model.safetensors. Tiles of 4-bit codes
become rows of their own, so that a rank can read its part. config.json gets a quantization_config,
tokenizer files are copied. Needs torch and safetensors.

    convert_qoq.py IN OUT
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

TILE = 32
COPIED = ("generation_config.json", "tokenizer", "special_tokens_map.json", "added_tokens.json",
          "vocab.", "merges.", "chat_template")  # fmt: skip
# Scales of QServe's own KV cache, which octet does not have.
DROPPED = ("kv_scale_quant_orig", "kv_scale_orig_quant", "rotary_emb.inv_freq")


def checked(name, tensor, dtype, shape):
    """The tensor, if it is what the format says."""
    if tensor.dtype != dtype or tuple(tensor.shape) != tuple(shape):
        raise ValueError(
            f"{name} is {tensor.dtype} {list(tensor.shape)}, expected {dtype} {list(shape)}"
        )
    return tensor.contiguous()


def convert_module(name, state, tensors):
    """Moves the tensors of one quantized module; returns its group size, -1 for one a row."""
    codes = state.pop(f"{name}.qweight")
    outputs, inputs = codes.shape[0], codes.shape[1] * 2
    if outputs % TILE or inputs % TILE:
        raise ValueError(f"{name} is {outputs} by {inputs}, expected multiples of {TILE}")
    checked(f"{name}.qweight", codes, torch.int8, (outputs, inputs // 2))
    tensors[f"{name}.qweight"] = codes.reshape(outputs // TILE, inputs * TILE // 2).contiguous()
    scales = state.pop(f"{name}.s1_scales")
    tensors[f"{name}.s1_scales"] = checked(f"{name}.s1_scales", scales, torch.float16, (outputs,))
    if f"{name}.s2_scales" not in state:
        zeros = state.pop(f"{name}.s1_szeros")
        zeros = checked(f"{name}.s1_szeros", zeros, torch.float16, (outputs,))
        tensors[f"{name}.s1_szeros"] = zeros
        return -1
    groups = state[f"{name}.s2_scales"].shape[0]
    if groups == 0 or inputs % groups:
        raise ValueError(f"{name} has {inputs} inputs in {groups} groups")
    for part in ("s2_scales", "s2_zeros"):
        found = state.pop(f"{name}.{part}")
        tensors[f"{name}.{part}"] = checked(f"{name}.{part}", found, torch.int8, (groups, outputs))
    return inputs // groups


def convert(state):
    """Returns (tensors, group size) of a state dict."""
    tensors, group_sizes = {}, set()
    for key in [key for key in state if key.endswith(".qweight")]:
        group_sizes.add(convert_module(key.removesuffix(".qweight"), state, tensors))
    if len(group_sizes) != 1:
        raise ValueError(f"groups of {sorted(group_sizes)} inputs, expected one size for all")
    for name, tensor in state.items():
        if name.endswith(DROPPED):
            print(f"left out: {name}", file=sys.stderr)
        elif tensor.dtype not in (torch.float16, torch.bfloat16, torch.float32):
            raise ValueError(f"{name} is {tensor.dtype}, expected a float type")
        else:
            tensors[name] = tensor.contiguous().clone()
    return tensors, group_sizes.pop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="folder with quant_model.pt and config.json")
    parser.add_argument("out", type=Path, help="folder to write; it must not be there")
    args = parser.parse_args()
    state = torch.load(
        args.model / "quant_model.pt", map_location="cpu", weights_only=True, mmap=True
    )
    config = json.loads((args.model / "config.json").read_text(encoding="utf-8"))
    tensors, group_size = convert(dict(state))
    config["quantization_config"] = {"quant_method": "qoq", "group_size": group_size}
    args.out.mkdir(parents=True)
    save_file(tensors, args.out / "model.safetensors", {"format": "pt"})
    (args.out / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    for path in sorted(args.model.iterdir()):
        if path.is_file() and path.name.startswith(COPIED):
            shutil.copy(path, args.out / path.name)


if __name__ == "__main__":
    main()
