#!/usr/bin/env python3
"""Writes tiny checkpoints quantized and packed by the formats' own packages, and what they stand for.

Needs auto-gptq 0.7.1, autoawq 0.2.9 and compressed-tensors 0.20 (installed with --no-deps: only
their CPU packing code is used), torch and transformers. Per model one folder with
  model.safetensors, config.json   as those packages write them
  weights.json                     of every quantized module the CRC-32 of its weights, dequantized
                                   by the same package in float32, [outputs, inputs] little-endian
  logits.safetensors               of transformers run on those weights, as make_goldens.py has it
GPTQ models are quantized by AutoGPTQ itself with made-up activations, so that the order of inputs
in act-order is one that it chose. `--check` computes logits again and compares.
"""

import argparse
import contextlib
import importlib
import importlib.util
import json
import sys
import types
import zlib
from pathlib import Path

import safetensors.torch
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM
from transformers.models.llama import modeling_llama
from transformers.models.qwen2 import modeling_qwen2

HERE = Path(__file__).resolve().parent
PROMPT_TOKENS = (1, 5, 12, 40)
CHECK_TOLERANCE = 2e-4
# 416 inputs are 13 groups of 32 and four leaves, 928 are 29 and eight; the last leaf is short.
SHAPE = {
    "vocab_size": 96, "hidden_size": 32, "intermediate_size": 416, "num_hidden_layers": 1,
    "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 16,
    "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "bos_token_id": 0, "eos_token_id": 1,
    "pad_token_id": None, "tie_word_embeddings": False,
}  # fmt: skip
GROUP = 32

MODELS = {
    "gptq": {"family": "llama", "bits": 4, "group_size": GROUP, "sym": True, "desc_act": False},
    "gptq_act": {
        "family": "qwen2", "bits": 4, "group_size": GROUP, "sym": False, "desc_act": True,
        "shape": {"hidden_size": 64, "intermediate_size": 928},
    },
    "gptq8_v2": {
        "family": "llama", "bits": 8, "group_size": -1, "sym": False, "desc_act": False,
        "checkpoint_format": "gptq_v2", "lm_head": True,
    },
    "awq": {"family": "qwen2", "bits": 4, "group_size": GROUP},
    "packed": {"family": "llama", "bits": 4, "group_size": GROUP, "symmetric": True},
    "packed_act": {
        "family": "llama", "bits": 4, "group_size": GROUP, "symmetric": False, "actorder": "group",
        "shape": {"hidden_size": 64},
    },
}  # fmt: skip


def bare_packages():
    """Packages whose own __init__ would load kernels and other libraries that are not needed."""
    for name in (
        "auto_gptq", "auto_gptq.nn_modules", "auto_gptq.nn_modules.qlinear",
        "auto_gptq.quantization", "awq", "awq.utils", "awq.modules", "awq.modules.linear",
    ):  # fmt: skip
        module = types.ModuleType(name)
        module.__path__ = list(importlib.util.find_spec(name).submodule_search_locations)
        sys.modules[name] = module


def load(name):
    return importlib.import_module(name)


def random_inputs(inputs, generator):
    """Activations whose inputs differ in size, so that act-order has something to sort by."""
    size = torch.exp(torch.randn(inputs, generator=generator))
    return torch.randn(256, inputs, generator=generator) * size


def gptq_module(linear, options, activations):
    """Quantizes by AutoGPTQ and packs; returns tensors and the weights they stand for."""
    gptq = load("auto_gptq.quantization.gptq").GPTQ(linear)
    gptq.quantizer.configure(options["bits"], perchannel=True, sym=options["sym"], mse=False)
    gptq.add_batch(activations, linear(activations))
    torch.cuda.synchronize = lambda: None
    scale, zero, g_idx = gptq.fasterquant(
        group_size=options["group_size"], actorder=options["desc_act"]
    )
    inputs, outputs = linear.in_features, linear.out_features
    packed = load("auto_gptq.nn_modules.qlinear.qlinear_cuda").QuantLinear(
        options["bits"], options["group_size"], inputs, outputs, False
    )
    half = torch.nn.Linear(inputs, outputs, bias=False, dtype=torch.float16)
    half.weight.data = linear.weight.data.half()
    packed.pack(half, scale.half(), zero.half(), g_idx)
    tensors = {n: getattr(packed, n).clone() for n in ("qweight", "qzeros", "scales", "g_idx")}
    packed.scales = packed.scales.float()
    weights = packed(torch.eye(inputs)).t().contiguous()
    if options.get("checkpoint_format") == "gptq_v2":  # as GPTQModel converts it
        ones = sum(1 << shift for shift in range(0, 32, options["bits"]))
        words = (tensors["qzeros"].long() + ones) & 0xFFFFFFFF
        tensors["qzeros"] = torch.where(words >= 1 << 31, words - (1 << 32), words).int()
    return tensors, weights


def minmax(weight, group):
    """Scale and zero point of every group, [groups, outputs], for codes 0 to 15."""
    grouped = weight.reshape(weight.shape[0], -1, group)
    low = grouped.amin(-1).clamp(max=0)
    scale = ((grouped.amax(-1).clamp(min=0) - low) / 15).half().float()
    return scale.t().contiguous(), (-low / scale.t().t()).round().clamp(0, 15).t().contiguous()


def awq_module(linear, options, _):
    gemm = load("awq.modules.linear.gemm")
    gemm.get_best_device = lambda: "cpu"
    scale, zero = minmax(linear.weight.data, options["group_size"])
    # AutoAWQ's quantizer leaves weights on the grid, and its packer divides them again.
    each = scale.repeat_interleave(GROUP, 0), zero.repeat_interleave(GROUP, 0)
    codes = ((linear.weight.data.t() / each[0]).round() + each[1]).clamp(0, 15)
    linear.weight.data = ((codes - each[1]) * each[0]).t().contiguous()
    packed = gemm.WQLinear_GEMM.from_linear(
        linear, options["bits"], options["group_size"], scales=scale, zeros=zero
    )
    tensors = {"qweight": packed.qweight, "qzeros": packed.qzeros, "scales": packed.scales}
    weights = load("awq.utils.packing_utils").dequantize_gemm(
        packed.qweight, packed.qzeros, packed.scales.float(), options["bits"], options["group_size"]
    )
    return tensors, weights.t().contiguous()


def packed_module(linear, options, activations):
    from compressed_tensors.compressors.pack_quantized import helpers
    from compressed_tensors.compressors.pack_quantized.base import PackedQuantizationCompressor
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    from compressed_tensors.quantization.utils import calculate_qparams

    scheme = QuantizationScheme(
        targets=["Linear"],
        weights=QuantizationArgs(
            num_bits=options["bits"], group_size=GROUP, strategy="group",
            symmetric=options["symmetric"],
        ),
    )  # fmt: skip
    order = torch.arange(linear.in_features)
    if options.get("actorder"):
        order = torch.argsort(activations.square().sum(0), descending=True)
    weight = linear.weight.data[:, order]
    grouped = weight.reshape(weight.shape[0], -1, GROUP)
    scale, zero = calculate_qparams(grouped.amin(-1), grouped.amax(-1), scheme.weights)
    scale = scale.half()
    tensors = PackedQuantizationCompressor.compress(
        {"weight": weight.half(), "weight_scale": scale, "weight_zero_point": zero}, scheme
    )
    weights = PackedQuantizationCompressor.decompress(
        {**tensors, "weight_scale": scale.float()}, scheme
    )["weight"].float()
    tensors.pop("weight_zero_point", None) if options["symmetric"] else None
    if options.get("actorder"):  # the packer knows no order: the inputs go back to their places
        back = torch.argsort(order)
        codes = helpers.unpack_from_int32(tensors["weight_packed"], options["bits"], weight.shape)
        tensors["weight_packed"] = helpers.pack_to_int32(codes[:, back].contiguous(), options["bits"])
        tensors["weight_g_idx"] = (back // GROUP).int()
        weights = weights[:, back].contiguous()
    return tensors, weights


def quantization_config(name, options):
    if name == "awq":
        return {
            "quant_method": "awq", "bits": 4, "group_size": GROUP, "zero_point": True,
            "version": "gemm", "modules_to_not_convert": None,
        }  # fmt: skip
    if name.startswith("packed"):
        weights = {
            "num_bits": options["bits"], "type": "int", "symmetric": options["symmetric"],
            "strategy": "group", "group_size": GROUP, "actorder": options.get("actorder"),
            "dynamic": False, "observer": "minmax",
        }  # fmt: skip
        group = {"targets": ["Linear"], "weights": weights, "input_activations": None,
                 "output_activations": None}  # fmt: skip
        return {
            "quant_method": "compressed-tensors", "format": "pack-quantized",
            "config_groups": {"group_0": group}, "ignore": ["lm_head"], "kv_cache_scheme": None,
            "quantization_status": "compressed",
        }  # fmt: skip
    config = {k: v for k, v in options.items() if k not in ("family", "shape")}
    return {"quant_method": "gptq", "static_groups": False, "true_sequential": True, **config}


@torch.no_grad()
def float_model(options):
    shape = {**SHAPE, **options.get("shape", {})}
    if options["family"] == "llama":
        return LlamaForCausalLM(LlamaConfig(**shape))
    rope = {"rope_type": "default", "rope_theta": 1000000.0}
    return Qwen2ForCausalLM(Qwen2Config(**shape, rope_parameters=rope, use_sliding_window=False))


@torch.no_grad()
def make(name, options, seed):
    """Saves the folder; returns the model with the weights that it stands for."""
    generator = torch.Generator().manual_seed(seed)
    model = float_model(options)
    for parameter_name, p in sorted(model.named_parameters()):
        noise = torch.randn(p.shape, generator=generator)
        if parameter_name.endswith("norm.weight"):
            p.copy_((1.0 + 0.2 * noise).half())
        elif parameter_name.endswith("bias"):
            p.copy_((0.5 * noise).half())
        else:
            p.copy_((0.15 * noise).half())
    quantize = {"g": gptq_module, "a": awq_module, "p": packed_module}[name[0]]
    activations, tensors, sums = {}, {}, {}
    for module_name, module in model.named_modules():
        is_head = module_name == "lm_head"
        if not isinstance(module, torch.nn.Linear) or (is_head and not options.get("lm_head")):
            continue
        parts = {"k_proj": "q_proj", "v_proj": "q_proj", "up_proj": "gate_proj"}
        end = module_name.rsplit(".", 1)[-1]
        shared = parts.get(end, end)  # parts of one linear see one activation
        if shared not in activations:
            activations[shared] = random_inputs(module.in_features, generator)
        plain = torch.nn.Linear(module.in_features, module.out_features, bias=False)
        plain.weight.data = module.weight.data.clone()
        packed, weights = quantize(plain, options, activations[shared])
        for suffix, tensor in packed.items():
            tensors[f"{module_name}.{suffix}"] = tensor.contiguous().clone()
        sums[module_name] = zlib.crc32(weights.numpy().tobytes())
        module.weight.copy_(weights)
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    for key, value in model.state_dict().items():
        if key.rsplit(".", 1)[0] not in sums or key.endswith(".bias"):
            tensors[key] = value.half()
    safetensors.torch.save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    config = model.config.to_dict()
    config["dtype"] = "float16"
    config["architectures"] = [type(model).__name__]
    config["quantization_config"] = quantization_config(name, options)
    for file, value in (("config.json", config), ("weights.json", sums)):
        text = json.dumps(value, indent=2, sort_keys=True) + "\n"
        (folder / file).write_text(text, encoding="utf-8")
    return model.float().eval()


@contextlib.contextmanager
def bf16_cache():
    """Inside, attention sees keys (after RoPE) and values as a bf16 cache gives them back."""
    modules = (modeling_llama, modeling_qwen2)
    exact = [module.eager_attention_forward for module in modules]

    def rounding(attention):
        def forward(module, query, key, value, *args, **kwargs):
            rounded = [t.bfloat16().float() for t in (key, value)]
            return attention(module, query, *rounded, *args, **kwargs)

        return forward

    for module, attention in zip(modules, exact, strict=True):
        module.eager_attention_forward = rounding(attention)
    try:
        yield
    finally:
        for module, attention in zip(modules, exact, strict=True):
            module.eager_attention_forward = attention


@torch.no_grad()
def logits_of(model):
    model.config._attn_implementation = "eager"
    generator = torch.Generator().manual_seed(7)
    tensors = {}
    for i, count in enumerate(PROMPT_TOKENS):
        prompt = torch.randint(0, model.config.vocab_size, (count,), generator=generator)
        positions = torch.tensor(sorted({0, count // 3, count // 2, count - 2, count - 1} - {-1}))
        tensors[f"prompt_{i}"] = prompt
        tensors[f"positions_{i}"] = positions
        tensors[f"logits_{i}"] = model(prompt[None]).logits[0][positions].clone()
        with bf16_cache():
            tensors[f"logits_bf16_kv_{i}"] = model(prompt[None]).logits[0][positions].clone()
    return tensors


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare logits with what is stored")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)
    bare_packages()
    for number, (name, options) in enumerate(MODELS.items()):
        path = HERE / name / "logits.safetensors"
        stored = safetensors.torch.load_file(path) if args.check else None
        tensors = logits_of(make(name, options, args.seed + number))
        if stored is None:
            safetensors.torch.save_file(tensors, path)
            continue
        worst = max((stored[k] - v).abs().max().item() for k, v in tensors.items())
        print(f"{name}: greatest difference {worst:.2e}")
        if worst > CHECK_TOLERANCE:
            sys.exit("goldens differ")


if __name__ == "__main__":
    main()
