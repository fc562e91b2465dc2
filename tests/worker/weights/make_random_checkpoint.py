#!/usr/bin/env python3
"""Writes a model folder of true size with random weights, to measure what loading it takes.

    make_random_checkpoint.py OUT --form bf16|gptq|gptq-act [--layers 22 --hidden 2048 --ffn 8192 ...]

Llama's geometry; gptq is 4 bits, symmetric, groups of 128; with -act every linear has its inputs in
random groups. Needs numpy; no test runs it.
"""
import argparse
import json
import pathlib
import struct

import numpy

GROUP = 128
BF16_SMALL = 0x3C00  # about 0.0078, to which random low bits and a sign are added


def bf16(rng, shape):
    bits = rng.integers(0, 0x180, shape, dtype=numpy.uint16) + numpy.uint16(BF16_SMALL)
    return "BF16", bits | (rng.integers(0, 2, shape, dtype=numpy.uint16) << 15)


def floats(count):
    return "BF16", numpy.full(count, 0x3F80, numpy.uint16)


def packed(rng, outputs, inputs, groups_of_inputs):
    groups = inputs // GROUP
    words = rng.integers(0, 1 << 32, (inputs // 8, outputs), dtype=numpy.uint32)
    scales = rng.uniform(0.001, 0.003, (groups, outputs)).astype(numpy.float16)
    return {"qweight": ("I32", words),
            "qzeros": ("I32", numpy.full((groups, outputs // 8), 0x77777777, numpy.uint32)),
            "scales": ("F16", scales),
            "g_idx": ("I32", groups_of_inputs)}


def tensors(args, rng):
    """Name, and a function that makes (type, values), one at a time."""
    hidden, ffn, kv = args.hidden, args.ffn, args.kv_heads * args.hidden // args.heads
    yield "model.embed_tokens.weight", lambda: bf16(rng, (args.vocab, hidden))
    if not args.tied:
        yield "lm_head.weight", lambda: bf16(rng, (args.vocab, hidden))
    yield "model.norm.weight", lambda: floats(hidden)
    modules = [("self_attn.q_proj", hidden, hidden), ("self_attn.k_proj", kv, hidden),
               ("self_attn.v_proj", kv, hidden), ("self_attn.o_proj", hidden, hidden),
               ("mlp.gate_proj", ffn, hidden), ("mlp.up_proj", ffn, hidden),
               ("mlp.down_proj", hidden, ffn)]
    for layer in range(args.layers):
        prefix = f"model.layers.{layer}."
        yield prefix + "input_layernorm.weight", lambda: floats(hidden)
        yield prefix + "post_attention_layernorm.weight", lambda: floats(hidden)
        orders = {}  # q, k and v see one activation, gate and up another
        for name, outputs, inputs in modules:
            if args.form == "bf16":
                yield f"{prefix}{name}.weight", lambda o=outputs, i=inputs: bf16(rng, (o, i))
                continue
            shared = "qkv" if name[10] in "qkv" else "gate_up" if "down" not in name else name
            shared = name if name.endswith("o_proj") else shared
            if shared not in orders:
                numbers = numpy.repeat(numpy.arange(inputs // GROUP, dtype=numpy.int32), GROUP)
                orders[shared] = rng.permutation(numbers) if args.form == "gptq-act" else numbers
            parts = packed(rng, outputs, inputs, orders[shared])
            for suffix, part in parts.items():
                yield f"{prefix}{name}.{suffix}", lambda p=part: p


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--form", choices=("bf16", "gptq", "gptq-act"), required=True)
    for name, value in (("layers", 22), ("hidden", 2048), ("ffn", 8192), ("heads", 32),
                        ("kv_heads", 8), ("vocab", 32000)):
        parser.add_argument("--" + name.replace("_", "-"), type=int, default=value)
    parser.add_argument("--tied", action="store_true", help="the head is the embedding")
    args = parser.parse_args()
    args.out.mkdir(parents=True)
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama",
              "hidden_size": args.hidden, "intermediate_size": args.ffn,
              "num_hidden_layers": args.layers, "num_attention_heads": args.heads,
              "num_key_value_heads": args.kv_heads, "vocab_size": args.vocab,
              "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "tie_word_embeddings": args.tied}
    if args.form != "bf16":
        config["quantization_config"] = {"quant_method": "gptq", "bits": 4, "group_size": GROUP,
                                         "sym": True, "desc_act": args.form == "gptq-act"}
    (args.out / "config.json").write_text(json.dumps(config))
    # A first walk for names and sizes, a second one for the same values.
    header, at = {}, 0
    for name, make in tensors(args, numpy.random.default_rng(1)):
        kind, values = make()
        header[name] = {"dtype": kind, "shape": list(values.shape),
                        "data_offsets": [at, at + values.nbytes]}
        at += values.nbytes
    text = json.dumps(header).encode()
    with (args.out / "model.safetensors").open("wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for _, make in tensors(args, numpy.random.default_rng(1)):
            out.write(make()[1].tobytes())


if __name__ == "__main__":
    main()
